"""A made-up run for the report and the model card: what the other stages would write for random predictions."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.dataset import SPLITS
from stages.evaluation import curves, scores as metrics
from tests.support import ROOT

TWO_CLASSES = ["alpaca", "not alpaca"]
TWELVE_CLASSES = [f"kind {k}" for k in range(12)]
MANY_CLASSES = [f"kind {k:02}" for k in range(25)]


def write_run(classes, per_class=8, separation=0.8):
    """Writes what the stage report reads into the working folder, and returns data/evaluation/metrics.json."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(classes)), per_class)
    probabilities = {model: random_probabilities(labels, separation, rng) for model in ("frozen", "finetuned")}
    predicted = {model: metrics.predict(values, 0.5) for model, values in probabilities.items()}
    scores = {model: metrics.score(labels, predicted[model], values) for model, values in probabilities.items()}
    class_scores = {
        model: metrics.score_classes(labels, predicted[model], values, classes)
        for model, values in probabilities.items()
    }
    evaluate = {model: scores[model] | calibration(scores[model], len(classes)) for model in scores}
    evaluate["changed"] = flips(predicted["frozen"] == labels, predicted["finetuned"] == labels)
    predictions = prediction_table(np.array(classes, object), labels, probabilities["finetuned"], predicted)
    write_metrics(
        {
            "data/splits/classes.json": classes,
            "data/evaluation/metrics.json": evaluate,
            "data/evaluation/classes.json": class_scores,
            "data/splits/summary.json": split_summary(classes, per_class),
            "data/evaluation/intervals.json": intervals(scores, class_scores),
            **other_metrics(),
        }
    )
    write_tables(
        {
            "plots/history.csv": history(),
            "plots/predictions.csv": predictions,
            "data/evaluation/reliability.csv": reliability(),
            "data/evaluation/slices.csv": slice_table(),
            "data/audit/labels.csv": doubtful_labels(predictions),
            "data/splits/unreadable.csv": pd.DataFrame({"path": ["a/\udcff.jpg"], "reason": ["cut off <here>"]}),
            **{
                f"data/evaluation/curves/{kind}.csv": curves.by_class(
                    getattr(curves, kind), labels, probabilities["finetuned"], classes
                )
                for kind in ("roc", "precision_recall")
            },
            **{
                f"data/splits/{name}/manifest.csv": pd.DataFrame(
                    {"label": labels, "sha256": map(str, range(len(labels)))}
                )
                for name in SPLITS
            },
        }
    )
    write_arrays(
        {
            "data/splits/overview.npz": overview(len(classes), rng),
            "data/evaluation/samples.npz": samples(predictions, rng),
            "data/audit/samples.npz": {"pixels": random_images(rng, 3), "sizes": np.array([[30, 20]] * 3)},
        }
    )
    Path("data/training").mkdir(parents=True, exist_ok=True)
    np.save("data/training/augmentations.npy", random_images(rng, 3))
    Path("requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    return evaluate


def random_images(rng, *shape):
    return rng.integers(0, 256, (*shape, 8, 8, 3), np.uint8)


def overview(class_count, rng):
    """What the stage split writes: of each class two training images, the second twice as wide as high."""
    sizes = np.zeros((class_count, 8, 2), int)
    sizes[:, :2] = [[20, 20], [40, 20]]
    return {
        "train": random_images(rng, class_count, 8),
        "train_sizes": sizes,
        "sizes": np.tile([[20, 20], [40, 20]], (class_count, 1)),
        "labels": np.repeat(np.arange(class_count), 2),
    }


def samples(predictions, rng):
    """What the stage evaluate writes of test images, twice as wide as high."""
    wrong = np.flatnonzero(predictions["actual"] != predictions["predicted"])
    rows = {"samples": np.arange(4), "mistakes": wrong, "uncertain": np.arange(5), "gradcam": np.arange(3)}
    arrays = {"gradcam_maps": rng.random((3, 8, 8), np.float32)}
    for sheet, of_sheet in rows.items():
        arrays |= {
            f"{sheet}_rows": of_sheet,
            f"{sheet}_pixels": random_images(rng, len(of_sheet)),
            f"{sheet}_sizes": np.tile([[40, 20]], (len(of_sheet), 1)),
        }
    return arrays


def write_arrays(arrays):
    for path, values in arrays.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **values)


def write_metrics(values):
    for path, value in values.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_json(value, Path(path))


def write_tables(tables):
    for path, table in tables.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_csv(table, Path(path))


def random_probabilities(labels, separation, rng):
    """Softmax of random logits, float [N, C]; the larger `separation`, the more predictions are right."""
    logits = rng.normal(size=(len(labels), labels.max() + 1))
    logits[np.arange(len(labels)), labels] += 4 * separation * rng.uniform(0.2, 1.2, len(labels))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def calibration(scores, class_count):
    threshold = {"threshold": 0.5} if class_count == 2 else {}
    errors = {"ece": 0.0831234567, "calibrated_ece": 0.0412345678}
    return errors | {"calibrated_loss": scores["loss"] * 0.9, "temperature": 1.3456789} | threshold


def flips(right_before, right):
    return {
        "gained": int((right & ~right_before).sum()),
        "lost": int((right_before & ~right).sum()),
        "p_value": 0.234567,
    }


def intervals(scores, class_scores):
    """The same tree as the scores', with an interval around each value in the place of it."""

    def around(values):
        return {key: [max(0, x - 0.0713), min(1, x + 0.0487)] for key, x in values.items() if key != "support"}

    return {
        model: around(scores[model])
        | {
            "macro": around(class_scores[model]["macro"]),
            "classes": {name: around(row) for name, row in class_scores[model]["classes"].items()},
        }
        for model in scores
    }


def prediction_table(names, labels, probabilities, predicted):
    ordered = np.sort(probabilities, axis=1)
    return pd.DataFrame(
        {
            "path": [f"{names[label]}/{row:03}.jpg" for row, label in enumerate(labels)],
            "group": range(len(labels)),
            "actual": names[labels],
            "predicted": names[predicted["finetuned"]],
            "probability": ordered[:, -1],
            "margin": ordered[:, -1] - ordered[:, -2],
            "frozen": names[predicted["frozen"]],
        }
    )


def split_summary(classes, per_class):
    counts = {name: dict.fromkeys(classes, per_class * times) for name, times in zip(SPLITS, (3, 1, 1), strict=True)}
    return counts | {"unreadable": 1, "dropped": 0, "groups": len(classes) * per_class * 5}


def other_metrics():
    phase = {"epochs": 2, "best_epoch": 2, "accuracy": 0.7, "loss": 0.7, "val_accuracy": 0.7, "val_loss": 0.72}
    start = {"val_accuracy": phase["val_accuracy"], "val_loss": phase["val_loss"]}
    megabytes = {"savedmodel": 9.98, "float16": 4.51, "int8": 2.74, "onnx": 8.91}
    return {
        "data/training/train_frozen.json": phase,
        "data/training/finetune.json": phase
        | {"epochs": 1, "best_epoch": 3, "val_accuracy": 0.8, "val_loss": 0.55, "mix": 0.75, "start": start},
        "data/audit/summary.json": {"label_error_rate": 0.0431, "cross_val_accuracy": 0.905, "folds": 5, "images": 80},
        "data/audit/learning_curve.json": {
            "sizes": [40, 80],
            "accuracy": [0.7, 0.78],
            "intervals": [[0.6, 0.8], [0.7, 0.85]],
            "doubled": {
                "size": 160,
                "accuracy": 0.85,
                "interval": [0.8, 0.9],
                "gain": 0.07,
                "gain_interval": [0.01, 0.12],
            },
        },
        "data/models/exported/comparison.json": {
            key: {"accuracy": 0.8, "agreement": 0.9921, "max_abs_difference": 0.0123456, "megabytes": size}
            for key, size in megabytes.items()
        },
    }


def history():
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "phase": ["train_frozen", "train_frozen", "finetune"],
            "accuracy": [0.5, 0.7, 0.75],
            "val_accuracy": [0.45, 0.7, 0.8],
            "loss": [1.4, 0.7, 0.6],
            "val_loss": [1.2, 0.72, 0.55],
            "learning_rate": [0.005, 0.005, 0.00002],
            "kept": [False, True, True],
        }
    )


def reliability():
    return pd.DataFrame(
        [
            (model, calibrated, low, low + 0.1, low + 0.05, low, low - 0.2, low + 0.2, 3)
            for model in ("frozen", "finetuned")
            for calibrated in (False, True)
            for low in (0.5, 0.8)
        ],
        columns=["model", "calibrated", "from", "to", "confidence", "accuracy", "low", "high", "support"],
    )


def slice_table():
    """One flagged slice, and twelve others, the less accurate the later."""
    rows = [("brightness", "dark", "12.5 to 60", 0.6, 0.001, True)]
    rows += [("camera", f"camera {k:02}", "", 0.99 - k / 100, 1, False) for k in range(12)]
    table = pd.DataFrame(rows, columns=["attribute", "value", "range", "accuracy", "p_value", "flagged"])
    return table.assign(support=20, low=table["accuracy"] - 0.1, high=table["accuracy"] + 0.005)


def doubtful_labels(predictions):
    return predictions[["path"]][:5].assign(
        split="train",
        given=predictions["actual"],
        suggested=predictions["predicted"],
        quality=0.1,
        given_probability=0.2,
        suggested_probability=0.7,
    )
