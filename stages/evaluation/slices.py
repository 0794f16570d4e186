"""Accuracy by slice: on images with the same value of a column of data.labels, or of similar size or appearance.

A slice is flagged if the model is less accurate on it than on the other images by more than randomness explains:
Fisher's exact test, one-sided, with Holm's correction for all slices (S. Holm, Scandinavian Journal of Statistics 6,
1979). A group of near-duplicates is one piece of evidence: the test takes the first image of each inside the slice, and
outside.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from stages.common import dataset
from stages.common.arrays import Pixels
from stages.statistics import intervals

LEVEL = 0.02  # significance level, below the usual 0.05: on shuffled labels 1 run of 100 flags a slice, not 3
MOST_VALUES = 20  # maximum number of values that are slices each; more numbers are divided into thirds, texts left out
FEWEST = 5  # minimum number of images of a slice
THIRDS = {
    "image size": ("small", "medium", "large"),
    "image brightness": ("dark", "medium", "bright"),
    "image sharpness": ("blurred", "medium", "sharp"),
}
OTHER_THIRDS = ("low", "medium", "high")
COLUMNS = ["attribute", "value", "range", "support", "accuracy", "low", "high", "p_value", "flagged"]


def measure(pixels: Pixels) -> pd.DataFrame:
    """Measures the brightness of images, the mean of all values, from 0 to 255, and their sharpness.

    Sharpness is the variance of the Laplacian of the green channel (J. L. Pech-Pacheco et al., ICPR 2000).
    """
    rows = []
    for row in range(len(pixels)):
        image = pixels[row]
        green = image[..., 1].astype(np.int32)  # sums of integers are the same on every processor
        inner = green[1:-1, 1:-1]
        laplacian = green[:-2, 1:-1] + green[2:, 1:-1] + green[1:-1, :-2] + green[1:-1, 2:] - 4 * inner
        variance = (laplacian**2).sum() / laplacian.size - (laplacian.sum() / laplacian.size) ** 2
        rows.append((image.mean(), variance))
    return pd.DataFrame(rows, columns=["image brightness", "image sharpness"])


def score(images: pd.DataFrame, right: np.ndarray) -> pd.DataFrame:
    """Computes the accuracy of every slice.

    Args:
        images: N rows of a manifest, with the columns that `measure` returns.
        right: bool [N], whether the predictions are right.

    Returns:
        DataFrame: COLUMNS of each slice, the lowest p-value first. The range is that of the numbers in a third; support
        is the number of images; low and high are Jeffreys' interval of the accuracy, in which a group counts once.
    """
    rows = []
    for attribute, value, span, inside in _slices(images):
        units = images[["group"]].assign(inside=inside, right=right).drop_duplicates(["group", "inside"])
        of_slice = units["right"][units["inside"]]
        p_value = stats.hypergeom.cdf(of_slice.sum(), len(units), units["right"].sum(), len(of_slice))
        rows.append((attribute, value, span, inside.sum(), right[inside].mean(), len(of_slice), p_value))
    table = pd.DataFrame(rows, columns=["attribute", "value", "range", "support", "accuracy", "groups", "p_value"])
    table = table.sort_values(["p_value", "accuracy"], kind="stable", ignore_index=True)
    low, high = intervals.jeffreys(table["accuracy"] * table["groups"], table["groups"])
    p_values = (table["p_value"] * np.arange(len(table), 0, -1)).cummax().clip(upper=1)  # Holm
    return table.assign(low=low, high=high, p_value=p_values, flagged=p_values < LEVEL)[COLUMNS]


def _slices(images: pd.DataFrame) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yields attribute, value, range, and which images have it, bool [N], of every slice of FEWEST images or more."""
    columns = images.drop(columns=[*dataset.COLUMNS, dataset.GROUP_TEXT], errors="ignore")
    columns["image size"] = images[["width", "height"]].min(axis=1)
    for attribute, column in columns.items():
        name = str(attribute)
        numbers = pd.to_numeric(column, errors="coerce")
        divided = name in THIRDS or column.nunique() > MOST_VALUES
        if divided and numbers[column != ""].isna().any():
            continue
        values = _thirds(numbers, THIRDS.get(name, OTHER_THIRDS)) if divided else column
        for value in sorted(values.unique()):
            inside = (values == value).to_numpy()
            if FEWEST <= inside.sum() < len(images):
                span = f"{numbers[inside].min():.4g} to {numbers[inside].max():.4g}" if divided and value else ""
                yield name, value or "none", span, inside


def _thirds(numbers: pd.Series, names: tuple[str, ...]) -> pd.Series:
    """Returns the name of the third in which each number is; "" for NaN."""
    third = np.searchsorted(np.nanquantile(numbers, [1 / 3, 2 / 3]), numbers.fillna(np.inf))
    return pd.Series(np.where(numbers.isna(), "", np.array(names)[third]), numbers.index)
