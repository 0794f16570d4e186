"""The page and the model card, from made-up results of the other stages."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn import metrics

from stages import report
from stages.common import card, command, dataset, scoring, wording
from stages.common.partition import SPLITS
from tests.conftest import ROOT


def write_run(classes, per_class=8, good=0.8, seed=0):
    """Writes what the stage reads into the working folder, as other stages would for random predictions of these classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), per_class)
    names = np.array(classes, dtype=object)

    def predict():
        logits = rng.normal(size=(len(labels), len(classes)))
        logits[np.arange(len(labels)), labels] += 4 * good * rng.uniform(0.2, 1.2, len(labels))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    frozen, finetuned = predict(), predict()
    scores, class_scores, intervals = {}, {}, {}
    for model, probabilities in (("frozen", frozen), ("finetuned", finetuned)):
        scores[model] = scoring.score(labels, probabilities, 0.5)
        if len(classes) > 5:
            top5 = metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(len(classes)))
            scores[model]["top5"] = float(top5)
        class_scores[model] = scoring.score_classes(labels, probabilities, 0.5, classes)
        around = lambda x: [max(0, x - 0.0713), min(1, x + 0.0487)]
        intervals[model] = {key: around(value) for key, value in scores[model].items()}
        intervals[model]["macro"] = {key: around(value) for key, value in class_scores[model]["macro"].items()}
        intervals[model]["classes"] = {
            name: {key: around(value) for key, value in row.items() if key != "pictures"}
            for name, row in class_scores[model]["classes"].items()
        }
        scores[model] |= {"ece": 0.0831234567, "calibrated_loss": scores[model]["loss"] * 0.9, "calibrated_ece": 0.0412345678,
                          "temperature": 1.3456789} | ({"threshold": 0.5} if len(classes) == 2 else {})
    predicted, before = scoring.predict(finetuned, 0.5), scoring.predict(frozen, 0.5)
    gained, lost = ((predicted == labels) & (before != labels)).sum(), ((predicted != labels) & (before == labels)).sum()
    scores["changed"] = {"gained": int(gained), "lost": int(lost), "p": 0.234567}
    ordered = np.sort(finetuned, axis=1)
    predictions = pd.DataFrame({
        "path": [f"{names[label]}/{row:03}.jpg" for row, label in enumerate(labels)], "group": range(len(labels)),
        "actual": names[labels], "predicted": names[predicted], "probability": ordered[:, -1],
        "margin": ordered[:, -1] - ordered[:, -2], "frozen": names[before],
    })
    counts = {name: {key: per_class * times for key in classes} for name, times in zip(SPLITS, (3, 1, 1))}
    history = pd.DataFrame({"epoch": [1, 2, 3], "phase": ["frozen", "frozen", "finetune"], "accuracy": [0.5, 0.7, 0.75],
                            "val_accuracy": [0.45, 0.7, 0.8], "loss": [1.4, 0.7, 0.6], "val_loss": [1.2, 0.72, 0.55],
                            "learning_rate": [0.005, 0.005, 0.00002], "kept": [False, True, True]})
    phase = {"epochs": 2, "epoch": 2, "accuracy": 0.7, "loss": 0.7, "val_accuracy": 0.7, "val_loss": 0.72}
    labels_table = predictions[["path"]].assign(split="train", given=predictions["actual"], suggested=predictions["predicted"],
                                                quality=0.1, given_probability=0.2, suggested_probability=0.7)
    bins = pd.DataFrame([(model, calibrated, low, low + 0.1, low + 0.05, low, 3) for model in ("frozen", "finetuned")
                         for calibrated in (False, True) for low in (0.5, 0.8)],
                        columns=["model", "calibrated", "from", "to", "confidence", "accuracy", "pictures"])
    checked = {key: {"accuracy": 0.8, "agreement": 0.9921, "largest_difference": 0.0123456, "megabytes": size}
               for key, size in (("savedmodel", 9.98), ("float16", 4.51), ("int8", 2.74), ("onnx", 8.91))}
    for path, value in {
        "data/splits/classes.json": classes, "metrics/evaluate.json": scores, "metrics/classes.json": class_scores,
        "metrics/split.json": counts | {"unreadable": 1, "dropped": 0, "groups": len(labels) * 5},
        "metrics/train_frozen.json": phase, "metrics/finetune.json": phase | {"epochs": 1, "epoch": 3, "val_accuracy": 0.8},
        "metrics/audit.json": {"label_errors": 0.0431, "accuracy": 0.905, "folds": 5}, "metrics/export.json": checked,
        "data/evaluation/intervals.json": intervals,
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        command.write_json(value, Path(path))
    for path, table in {
        "plots/history.csv": history, "plots/predictions.csv": predictions, "data/evaluation/reliability.csv": bins,
        "data/audit/labels.csv": labels_table,
        "data/splits/unreadable.csv": pd.DataFrame({"path": ["a/\udcff.jpg"], "reason": ["cut off <here>"]}),
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        dataset.write_csv(table, path)
    for name in report.PICTURES:
        Path(f"plots/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "white").save(f"plots/{name}.png", dpi=(120, 120))
    Path("requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    return scores
