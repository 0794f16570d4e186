"""Examples of test images for people to inspect: samples, mistakes, uncertain predictions, and Grad-CAM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.common import dataset

SAMPLES = 16  # images of the complete test split
GRADCAM = 16  # images with a heat map,
GRADCAM_WRONG = 8  # up to so many of them wrongly predicted
CLASSES = 10  # classes on the sheets of mistakes and of uncertain images,
PER_CLASS = 6  # with up to so many images each


def save(
    path: Path,
    heat_maps: Callable[[np.ndarray, np.ndarray], np.ndarray],
    split: dataset.Split,
    predictions: pd.DataFrame,
) -> None:
    """Writes the images that the plot stage shows as .npz.

    For each sheet of samples, mistakes, uncertain and gradcam: `{sheet}_rows`, int [K], rows of `predictions`;
    `{sheet}_pixels`, uint8 [K, size, size, 3]; and `{sheet}_sizes`, int [K, 2], width and height of the files. And
    `gradcam_maps`, float32 [K, size, size] in [0, 1], for the predicted class. K may be 0.

    Args:
        path: of the file.
        heat_maps: gradcam.heat_maps of the model that made the predictions, from pixels and labels.
        split: dataset.Split, of N images.
        predictions: N rows in the order of `split`, with the class names actual and predicted, probability, and margin
            (the largest minus the second largest probability).
    """
    sheets = {
        "samples": samples(predictions),
        "mistakes": mistakes(predictions),
        "uncertain": uncertain(predictions),
        "gradcam": for_gradcam(predictions),
    }
    arrays: dict[str, Any] = {}
    for name, rows in sheets.items():
        arrays[f"{name}_rows"], arrays[f"{name}_pixels"] = rows, split.pixels[rows]
        arrays[f"{name}_sizes"] = split.manifest[["width", "height"]].to_numpy()[rows]
    predicted = predictions["predicted"].iloc[sheets["gradcam"]]
    labels = np.array([split.classes.index(name) for name in predicted], np.int64)
    arrays["gradcam_maps"] = heat_maps(arrays["gradcam_pixels"], labels)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def samples(predictions: pd.DataFrame) -> np.ndarray:
    """Returns evenly spaced rows of the table, int [K]: it is sorted by class, so that every class shows."""
    return dataset.evenly_spaced(np.arange(len(predictions)), SAMPLES)


def mistakes(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows of wrong predictions, int [K]: of the classes that have most of them, the most confident first."""
    rows = np.flatnonzero(predictions["actual"] != predictions["predicted"])
    counts = predictions["actual"].iloc[rows].value_counts()
    return _by_class(predictions, rows, -predictions["probability"], -counts)


def uncertain(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows of the least certain predictions, int [K], of the classes with the lowest mean margin."""
    margins = predictions.groupby("actual")["margin"].mean()
    return _by_class(predictions, np.arange(len(predictions)), predictions["margin"], margins)


def for_gradcam(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows, int [K], of wrong predictions, then of right ones, both spread evenly over the true classes.

    GRADCAM_WRONG of GRADCAM are wrong if there are so many; more only where there are too few right ones.
    """
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    wrong = _stratified(predictions, np.flatnonzero(~right), max(GRADCAM_WRONG, GRADCAM - right.sum()))
    return np.concatenate([wrong, _stratified(predictions, np.flatnonzero(right), GRADCAM - len(wrong))])


def _by_class(predictions: pd.DataFrame, rows: np.ndarray, order: pd.Series, class_order: pd.Series) -> np.ndarray:
    """Selects from `rows`, class by class in the order of names, PER_CLASS with the lowest `order` of CLASSES with the
    lowest `class_order`; both are Series, over the rows of the table and over the names of classes."""
    table = predictions.iloc[rows].assign(order=order.iloc[rows].to_numpy(), row=rows)
    selected = class_order.sort_index().sort_values(kind="stable").index[:CLASSES]
    table = table[table["actual"].isin(selected)].sort_values(["actual", "order"], kind="stable")
    return table.groupby("actual").head(PER_CLASS)["row"].to_numpy()


def _stratified(predictions: pd.DataFrame, rows: np.ndarray, count: int) -> np.ndarray:
    """Selects `count` of `rows`, evenly over the true classes and the images of each, in the order of the table."""
    actual = predictions["actual"].iloc[rows].reset_index(drop=True)
    actual = actual[actual.isin(dataset.evenly_spaced(actual.unique(), count))]
    number = actual.groupby(actual).cumcount()  # the first images of all classes come first, then the second ones
    quotas = actual[number.sort_values(kind="stable").index[:count]].value_counts()
    places = [dataset.evenly_spaced(part.index.to_numpy(), quotas[name]) for name, part in actual.groupby(actual)]
    return rows[np.sort(np.concatenate([np.arange(0), *places]))]
