"""Selection of test images for people to inspect: of all images, mistakes, uncertain predictions, and for Grad-CAM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.common import dataset
from stages.common.result_tables import CERTAIN

SPLIT_IMAGES = 16  # number of images that show the whole split
GRADCAM_IMAGES = 16  # number of images with a heat map
GRADCAM_WRONG = 8  # number of wrong predictions among them; larger only where too few predictions are right
CLASSES = 10  # maximum number of classes on the sheets of mistakes and of uncertain predictions
PER_CLASS = 6  # maximum number of images of each of these classes


def save(path: Path, heat_maps: Callable[..., np.ndarray], split: dataset.Split, predictions: pd.DataFrame) -> None:
    """Writes the images that the stage plot shows, as .npz, from the table of predictions.prediction_table.

    The file has, for each sheet, samples (of the whole split), mistakes, uncertain and gradcam: `{sheet}_rows`, int
    [K], the rows of `predictions`; `{sheet}_pixels`, uint8 [K, size, size, 3]; and `{sheet}_sizes`, int [K, 2], width
    and height of the files. It also has `gradcam_maps`, float32 [K, size, size] in [0, 1], which `heat_maps` makes from
    pixels and labels (gradcam.heat_maps). K may be 0.
    """
    sheets = {
        "samples": dataset.evenly_spaced(np.arange(len(predictions)), SPLIT_IMAGES),  # sorted by class
        "mistakes": mistakes(predictions),
        "uncertain": uncertain(predictions),
        "gradcam": for_gradcam(predictions),
    }
    sizes = split.manifest[["width", "height"]].to_numpy()
    arrays: dict[str, Any] = {}
    for name, rows in sheets.items():
        arrays |= {f"{name}_rows": rows, f"{name}_pixels": split.pixels[rows], f"{name}_sizes": sizes[rows]}
    labels = pd.Index(split.classes).get_indexer(predictions["predicted"].iloc[sheets["gradcam"]])
    arrays["gradcam_maps"] = heat_maps(arrays["gradcam_pixels"], labels)
    np.savez(path, **arrays)


def mistakes(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows of wrong predictions, int [K], the most confident ones of the classes with most of them."""
    rows = np.flatnonzero(predictions["actual"] != predictions["predicted"])
    counts = predictions["actual"].iloc[rows].value_counts()
    return _by_class(predictions, rows, -predictions["probability"], -counts)


def uncertain(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows of the predictions with the lowest margin, int [K], of the classes with the lowest mean margin.

    Those that are CERTAIN are left out.
    """
    margins = predictions.groupby("actual")["margin"].mean()
    rows = np.flatnonzero(predictions["probability"] < CERTAIN)
    return _by_class(predictions, rows, predictions["margin"], margins)


def for_gradcam(predictions: pd.DataFrame) -> np.ndarray:
    """Returns rows of wrong predictions, then of right ones, int [K], both spread evenly over the true classes."""
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    wrong = _stratified(predictions, np.flatnonzero(~right), max(GRADCAM_WRONG, GRADCAM_IMAGES - right.sum()))
    return np.concatenate([wrong, _stratified(predictions, np.flatnonzero(right), GRADCAM_IMAGES - len(wrong))])


def _by_class(predictions: pd.DataFrame, rows: np.ndarray, order: pd.Series, class_order: pd.Series) -> np.ndarray:
    """Selects, of CLASSES with the lowest `class_order`, the PER_CLASS of `rows` with the lowest `order`."""
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
