"""Predictions of a SavedModel, and the table of them that other stages read."""

from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import dataset
from stages.common.arrays import ArrayFile


def predict_probabilities(model: Any, pixels: ArrayFile, batch_size: int, progress: str) -> np.ndarray:
    """Returns the class probabilities of images, float32 [N, C].

    Args:
        model: a SavedModel, loaded.
        pixels: uint8 [N, size, size, 3].
        batch_size: images at a time.
        progress: what the progress bar says.
    """
    serve = model.signatures["serving_uint8"]
    starts = tqdm(range(0, len(pixels), batch_size), progress, unit="batch", disable=None)
    return np.concatenate([serve(images=pixels[i : i + batch_size])["probabilities"] for i in starts])


def prediction_table(
    split: dataset.Split, probabilities: np.ndarray, predicted: np.ndarray, frozen: np.ndarray
) -> pd.DataFrame:
    """Returns a row per image, for people to read and for the stages plot and report.

    Args:
        split: dataset.Split.
        probabilities: float [N, C], of the fine-tuned model.
        predicted: int [N], labels that the fine-tuned model predicts.
        frozen: int [N], labels that the frozen model predicts.

    Returns:
        DataFrame: path, group (dataset.Split), actual and predicted class, the latter's probability, margin (the
        largest minus the second largest probability) and frozen, the class that the frozen model predicts.
    """
    names = np.array(split.classes)
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return pd.DataFrame(
        {
            "path": split.manifest["path"],
            "group": split.manifest["group"],
            "actual": split.manifest["class"],
            "predicted": names[predicted],
            "probability": probabilities[np.arange(len(predicted)), predicted],
            "margin": first - second,
            "frozen": names[frozen],
        }
    )
