"""Charts that show test images with their predictions, as matplotlib figures."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from stages.charts.base import CORRECT, WIDTH, WRONG, grid, plain, shortened


def predictions(pixels: np.ndarray, sizes: np.ndarray, table: pd.DataFrame) -> Figure:
    """Draws images with their true and predicted class; the wrong ones in red.

    Args:
        pixels: uint8 [N, size, size, 3].
        sizes: int [N, 2], width and height of the files, whose aspect ratio the images are drawn in.
        table: N rows with actual, predicted and probability.
    """
    titles = [f"{row.predicted} {row.probability:.0%}\n{_outcome(row)}" for row in table.itertuples()]
    return grid(pixels, titles, "Predictions of the fine-tuned model on test images", _colours(table), sizes)


def by_class(pixels: np.ndarray, sizes: np.ndarray, rows: np.ndarray, table: pd.DataFrame, heading: str) -> Figure:
    """Draws images in a row for each true class, with path, label, predicted class and its probability.

    Args:
        pixels: uint8 [K, size, size, 3]; K may be 0.
        sizes: int [K, 2], as in `predictions`.
        rows: int [K], which rows of `table` these are, class by class.
        table: N rows with path, actual, predicted and probability: all of the test split.
        heading: above them all.
    """
    selected = table.iloc[rows].reset_index(drop=True)
    if selected.empty:
        figure = Figure(figsize=(8, 1.5), layout="constrained")
        figure.suptitle(heading)
        figure.text(0.5, 0.3, f"There are none among the {len(table)} test images.", ha="center")
        return figure
    groups = selected.groupby("actual")
    columns = max(5, groups.size().max())
    figure = Figure(figsize=(WIDTH, (WIDTH / columns + 1) * len(groups) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.1)
    count = table["actual"].nunique()
    figure.suptitle(f"{heading}, {len(groups)} of {count} classes" if len(groups) < count else heading, fontsize=14)
    strips = figure.subfigures(len(groups), squeeze=False)[:, 0]
    for (name, part), strip in zip(groups, strips, strict=True):
        of_class = table[table["actual"] == name]
        wrong = (of_class["predicted"] != name).sum()
        title = f"{wrong} of {len(of_class)} wrong: {plain(name, 50)}"
        strip.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
        _draw_strip(strip, columns, pixels, sizes, part)
    return figure


def _draw_strip(strip: SubFigure, columns: int, pixels: np.ndarray, sizes: np.ndarray, table: pd.DataFrame) -> None:
    """Draws the images of one class, `pixels` of the index of `table`, from the left in a row of `columns` places."""
    places = strip.subplots(1, columns, squeeze=False)[0]
    for axes in places:
        axes.axis("off")
    for axes, row, colour in zip(places, table.itertuples(), _colours(table), strict=False):  # some places stay empty
        width, height = sizes[row.Index]
        axes.set_anchor("N")
        axes.imshow(pixels[row.Index], aspect=height / width)
        title = (
            f"{plain(row.path, 24)}\nlabel: {plain(row.actual, 17)}\n{row.probability:.0%} {plain(row.predicted, 18)}"
        )
        axes.set_title(title, fontsize=8, color=colour, y=1)


def gradcam(pixels: np.ndarray, sizes: np.ndarray, heat_maps: np.ndarray, table: pd.DataFrame) -> Figure:
    """Draws each image beside what `heat_overlay` returns, with an outline at half of the maximum.

    Args:
        pixels: uint8 [N, size, size, 3].
        sizes: int [N, 2], as in `predictions`.
        heat_maps: float [N, size, size] in [0, 1], for the predicted class.
        table: N rows with path, actual, predicted and probability.
    """
    size = pixels.shape[1]
    pairs = np.concatenate([pixels, heat_overlay(pixels, heat_maps)], axis=2)
    titles = [
        f"{row.probability:.0%} {row.predicted}{'' if heat_map.any() else ' (no evidence for it)'}\n{_outcome(row)}\n"
        f"{shortened(row.path, 52)}"
        for row, heat_map in zip(table.itertuples(), heat_maps, strict=True)
    ]
    heading = "Grad-CAM: evidence for the predicted class (bright; outlined: at least half of the maximum)"
    figure = grid(pairs, titles, heading, _colours(table), sizes)
    for axes, heat_map in zip(figure.axes, heat_maps, strict=False):  # the grid may have more places than images
        if heat_map.any():
            axes.contour(np.arange(size) + size, np.arange(size), heat_map, levels=[0.5], colors="white", linewidths=1)
    return figure


def heat_overlay(pixels: np.ndarray, heat_maps: np.ndarray) -> np.ndarray:
    """Returns images in grey with their heat maps laid over them, uint8 of the shape of `pixels`."""
    grey = pixels.mean(axis=3, keepdims=True) / 255
    heat = matplotlib.colormaps["inferno"](heat_maps)[..., :3]  # the brighter, the more: no colours are needed to tell
    return ((grey + heat) / 2 * 255).astype(np.uint8)


def _outcome(row: Any) -> str:
    return "correct" if row.actual == row.predicted else f"wrong, actual: {row.actual}"


def _colours(table: pd.DataFrame) -> list[str]:
    return [CORRECT if row.actual == row.predicted else WRONG for row in table.itertuples()]
