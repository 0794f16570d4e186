"""Made-up runs: what the other stages would write for random predictions, and a Run for conclusions and next steps."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common import files, params
from stages.common.dataset import SPLITS
from stages.evaluation import curves, prediction_sets, scores as metrics
from stages.label_audit import label_errors
from stages.reporting.run import (
    Audit,
    FinetuneMetrics,
    Flips,
    Models,
    NoveltyRates,
    PhaseMetrics,
    Run,
    Scores,
    SplitSummary,
)
from stages.statistics import intervals
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
    scores, class_scores = {}, {}
    for model, values in probabilities.items():
        scores[model], class_scores[model] = metrics.score(labels, predicted[model], values, classes)
    evaluate = {model: scores[model] | calibration(scores[model], len(classes)) for model in scores}
    if len(classes) > 2:
        fitted = labels, probabilities["frozen"]  # as if they were of the validation split
        evaluate["finetuned"] |= prediction_sets.evaluate(fitted, (labels, probabilities["finetuned"]))
    evaluate["changed"] = flips(predicted["frozen"] == labels, predicted["finetuned"] == labels)
    predictions = prediction_table(np.array(classes, object), labels, probabilities["finetuned"], predicted)
    evidence = labels, probabilities["finetuned"], classes
    manifest = pd.DataFrame({"label": labels, "sha256": map(str, range(len(labels)))})
    write(
        {
            "data/splits/classes.json": classes,
            "data/splits/summary.json": split_summary(classes, per_class),
            "data/splits/near_duplicates.csv": near_duplicates(),
            "data/splits/unreadable.csv": pd.DataFrame({"path": ["a/\udcff.jpg"], "reason": ["cut off <here>"]}),
            **{f"data/splits/{name}/manifest.csv": manifest for name in SPLITS},
            **test_split(manifest, predictions, rng),
            "data/evaluation/metrics.json": evaluate,
            "data/evaluation/classes.json": class_scores,
            "data/evaluation/intervals.json": around_scores(scores, class_scores),
            "data/evaluation/novelty.json": novelty_rates(len(labels), len(classes)),
            "data/evaluation/reliability.csv": reliability(),
            "data/evaluation/slices.csv": slice_table(),
            "data/evaluation/curves/roc.csv": curves.by_class(curves.roc, *evidence),
            "data/evaluation/curves/precision_recall.csv": curves.by_class(curves.precision_recall, *evidence),
            "plots/predictions.csv": predictions,
            "data/audit/labels.csv": doubtful_labels(predictions),
            "data/splits/overview.npz": overview(len(classes), rng),
            "data/evaluation/samples.npz": samples(predictions, rng),
            "data/audit/samples.npz": {"pixels": random_images(rng, 3), "sizes": np.array([[30, 20]] * 3)},
            "data/training/augmentations.npy": random_images(rng, 3),
            **training(),
            **other_metrics(),
        }
    )
    shutil.copy(ROOT / "requirements.txt", ".")
    return evaluate


def parameters(changes):
    """The default parameters with changes: {"section.key": value}."""
    tree = params.Params().model_dump()
    for key, value in changes.items():
        group, _, name = key.rpartition(".")
        (tree[group] if group else tree)[name] = value
    return params.Params.model_validate(tree)


def read_run():
    return Run.read(params.read(*params.Params.model_fields))


def make_run(classes=2, per_class=100, accuracy=0.95, settings=(), **changes):
    """A run in which this fraction of each class's test images is right, and the others are of the next class.

    It fits as well in training as in validation, keeps the fine-tuned model, and int8 agrees.
    """
    names = [f"kind {label}" for label in range(classes)]
    actual = np.repeat(np.arange(classes), per_class)
    wrong = np.tile(np.arange(per_class) >= round(accuracy * per_class), classes)
    accuracy = float((~wrong).mean())
    fit = {"accuracy": accuracy, "val_accuracy": accuracy, "val_loss": 0.2}
    candidates = {"frozen": {"epoch": 2, "val_accuracy": accuracy - 0.02, "val_loss": 0.3}}
    candidates["finetuned"] = candidate(5, fit)
    compared = {"accuracy": accuracy, "agreement": 1.0}
    known = {
        "p": parameters({"data.images": "data/mine"} | dict(settings)),
        "classes": names,
        "split": SplitSummary(**split_summary(names, per_class)),
        "novelty": NoveltyRates(**novelty_rates(len(actual), classes)),
        "predictions": pd.DataFrame(
            {
                "path": [f"{row}.jpg" for row in range(len(actual))],
                "actual": actual,
                "predicted": (actual + wrong) % classes,
                "probability": 1.0,
            }
        ).replace({column: dict(enumerate(names)) for column in ("actual", "predicted")}),
        "scores": Scores(
            finetuned={"accuracy": accuracy},
            frozen={"accuracy": accuracy - 0.02},
            changed=Flips(gained=5, lost=1, p_value=0.2),
        ),
        "intervals": Models(finetuned={"accuracy": intervals.wilson(accuracy, len(actual))}, frozen={}),
        "train_frozen": PhaseMetrics(epochs=2, kept_epoch=2, accuracy=0.8, val_accuracy=accuracy - 0.02, val_loss=0.3),
        "finetune": FinetuneMetrics(**fit, epochs=3, kept_epoch=5, model="finetuned", candidates=candidates),
        "history": make_history([0.25, 0.2, 0.2]),
        "exports": {
            name: compared | {"megabytes": size}
            for name, size in {"savedmodel": 10, "float16": 4.5, "int8": 2.7}.items()
        },
        "overview": {"sizes": np.array([[300, 400]] * 5)},
        "labels": pd.DataFrame({"path": []}),
        "near_duplicates": pd.DataFrame({"duplicates": [], "classes_mix": []}),
        "audit": Audit(label_error_rate=0.0, cross_val_accuracy=0.9, folds=5, finding=finding(0, 0.0)),
        "learning_curve": {"sizes": [50, 100], "doubled": {"gain": 0.002, "gain_interval": [-0.01, 0.014]}},
    }
    return Run(**dict.fromkeys(Run.__dataclass_fields__) | known | changes)


def make_history(val_losses, losses=None):
    """The history of two epochs of train_frozen, and of an epoch of finetune for each loss, whose last one is kept."""
    phases = ["train_frozen"] * 2 + ["finetune"] * len(val_losses)
    losses = losses or [0.1 - 0.01 * number for number in range(len(val_losses))]
    return pd.DataFrame(
        {
            "epoch": range(1, len(phases) + 1),
            "phase": phases,
            "loss": [0.5, 0.4, *losses],
            "val_loss": [0.6, 0.3, *val_losses],
        }
    )


def write(outputs):
    """Writes each output, by its path, in the format that its ending says."""
    for path, value in outputs.items():
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            files.write_json(value, path)
        elif path.suffix == ".csv":
            files.write_csv(value, path)
        elif path.suffix == ".npy":
            np.save(path, value)
        else:
            np.savez(path, **value)


def change(path, **values):
    """Changes values of a JSON file or of an .npz file."""
    write({path: (files.read_json if path.endswith(".json") else files.read_arrays)(path) | values})


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


def test_split(manifest, predictions, rng):
    """What the stage split writes of the test split, of images twice as wide as high."""
    shape = {"width": 40, "height": 20, "group": range(len(manifest)), "duplicates": range(len(manifest))}
    manifest = manifest.assign(path=predictions["path"], **{"class": predictions["actual"]}, **shape)
    return {
        "data/splits/test/manifest.csv": manifest,
        "data/splits/test/pixels.npy": random_images(rng, len(manifest)),
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


def novelty_rates(count, class_count):
    """What the stage evaluate writes of novelty detection, for so many test images."""

    def rate(count, value):
        return {"count": count, "rate": value, "interval": [max(0, value - 0.0513), min(1, value + 0.0387)]}

    return {
        "finding": "Flagged as unlike the training images: 5.0% of the test images.",
        "answered": rate(count, 0.95),
        "wrong": rate(count - count // 20, 0.03),
        "foreign": rate(60, 0.98),
        "kinds": {"charts": rate(30, 1.0), "portraits": rate(30, 0.96)},
        "unseen": rate(count, 0.6) if class_count > 2 else None,
    }


def around_scores(scores, class_scores):
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


def candidate(epoch, metrics):
    return {"epoch": epoch} | {name: metrics[name] for name in ("val_accuracy", "val_loss")}


def finding(count, rate, images=1000):
    """What the audit says of so many doubtful labels; its classifiers have an accuracy of 90%."""
    return label_errors.describe_review(count, rate, 0.9, images, "data/audit/labels.csv")


def training():
    """Histories and metrics of both phases: two epochs, and one more."""
    kept = {"epochs": 2, "kept_epoch": 2, "accuracy": 0.7, "loss": 0.7, "val_accuracy": 0.7, "val_loss": 0.72}
    finetune = {"epochs": 1, "kept_epoch": 3, "val_accuracy": 0.8, "val_loss": 0.55}
    frozen, tuned = candidate(2, kept), candidate(3, finetune)
    finetune |= {"model": "finetuned", "candidates": {"frozen": frozen, "finetuned": tuned}}
    columns = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate", "kept"]
    epochs = [
        (1, "train_frozen", 0.5, 0.45, 1.4, 1.2, 0.005, False),
        (2, "train_frozen", 0.7, 0.7, 0.7, 0.72, 0.005, True),
    ]
    return {
        "data/training/train_frozen.json": kept,
        "data/training/finetune.json": kept | finetune,
        "data/training/train_frozen.csv": pd.DataFrame(epochs, columns=columns),
        "data/training/finetune.csv": pd.DataFrame(
            [(3, "finetune", 0.75, 0.8, 0.6, 0.55, 0.00002, True)], columns=columns
        ),
    }


def other_metrics():
    megabytes = {"savedmodel": 9.98, "float16": 4.51, "int8": 2.74, "onnx": 8.91}
    doubled = {"size": 160, "accuracy": 0.85, "interval": [0.8, 0.9], "gain": 0.07, "gain_interval": [0.01, 0.12]}
    curve = {"sizes": [40, 80], "accuracy": [0.7, 0.78], "intervals": [[0.6, 0.8], [0.7, 0.85]], "doubled": doubled}
    audit = {"label_error_rate": 0.0431, "cross_val_accuracy": 0.905, "folds": 5, "images": 80}
    audit["finding"] = finding(5, 0.0431, 80)
    compared = {"accuracy": 0.8, "agreement": 0.9921, "max_abs_difference": 0.0123456}
    return {
        "data/audit/summary.json": audit,
        "data/audit/learning_curve.json": curve,
        "data/models/exported/comparison.json": {
            key: compared | {"megabytes": size} for key, size in megabytes.items()
        },
    }


def near_duplicates():
    """Two sets of near-duplicates, of which the second has two labels."""
    paths, classes = ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/3.jpg"], ["a", "a", "a", "b"]
    table = pd.DataFrame({"duplicates": [0, 0, 1, 1], "path": paths, "class": classes, "split": "train"})
    return table.assign(classes_mix=[0, 0, 1, 1], splits_mix=0)


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
