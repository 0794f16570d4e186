"""Predictions of a SavedModel, and the table of them that other stages read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.arrays import Features, Labels, Pixels, Probabilities
from stages.common.dataset import Split
from stages.evaluation import scores


def predict(model: Any, pixels: Pixels, batch_size: int, progress: str) -> tuple[Probabilities, Features]:
    """Returns the class probabilities that a loaded SavedModel predicts, and the features that its head takes.

    Both are float32; `progress` names the progress bar.
    """
    probabilities, features = [], []
    for start in tqdm(range(0, len(pixels), batch_size), progress, unit="batch", disable=None):
        outputs = model.predict(pixels[start : start + batch_size])  # whose feature maps take 250 kB an image
        probabilities.append(outputs["probabilities"])
        features.append(outputs["features"])
    return np.concatenate(probabilities), np.concatenate(features)


def prediction_table(
    manifest: pd.DataFrame,
    classes: list[str],
    probabilities: Probabilities,
    predicted: Labels,
    frozen: Labels | None = None,
) -> pd.DataFrame:
    """Returns a row per image, for people to read and for the stages plot and report.

    Its columns are path and group of the image; its actual class; the class that the fine-tuned model predicts, and its
    probability; margin, the largest minus the second largest probability; and frozen, what the frozen model predicts,
    if that is given.
    """
    names = np.array(classes)
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    table = manifest[["path", "group", "class"]].rename(columns={"class": "actual"})
    table["predicted"] = names[predicted]
    table["probability"] = probabilities[np.arange(len(predicted)), predicted]
    table["margin"] = first - second
    if frozen is not None:
        table["frozen"] = names[frozen]
    return table


def wrong_predictions(
    splits: Mapping[str, Split], probabilities: Mapping[str, Probabilities], threshold: float
) -> pd.DataFrame:
    """Returns the mistakes of a model with this threshold, split by split, the most confident first.

    The columns are split, path, actual, predicted and probability, that of the predicted class.
    """
    tables = []
    for name, split in splits.items():
        predicted = scores.predict(probabilities[name], threshold)
        table = prediction_table(split.manifest, split.classes, probabilities[name], predicted)
        wrong = table[table["predicted"] != table["actual"]].assign(split=name)
        tables.append(wrong.sort_values("probability", ascending=False, kind="stable"))
    return pd.concat(tables)[["split", "path", "actual", "predicted", "probability"]]
