"""Charts that show test images with their predictions, as matplotlib figures.

`pixels` are uint8 [N, size, size, 3], drawn in the aspect ratios of their files, whose `sizes` are given. `table` has a
row per image with path, actual, predicted (both class names) and probability.
"""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from stages.charts import base
from stages.common.arrays import Sizes


def predictions(pixels: np.ndarray, sizes: Sizes, table: pd.DataFrame) -> Figure:
    """Draws images with their true and predicted class; the titles of the wrong ones are red."""
    titles = [f"{row.predicted} {row.probability:.0%}\n{_outcome(row)}" for row in table.itertuples()]
    return base.grid(pixels, titles, "Predictions of the exported model on test images", _colours(table), sizes)


def by_class(pixels: np.ndarray, sizes: Sizes, rows: np.ndarray, table: pd.DataFrame, heading: str) -> Figure:
    """Draws images in a row for each true class, with path, label, predicted class and its probability.

    `table` has the whole test split; `rows`, int [N], are the row numbers in it of the images, class by class.
    """
    selected = table.iloc[rows].reset_index(drop=True)
    if selected.empty:
        figure = Figure(figsize=(8, 1.5), layout="constrained")
        figure.suptitle(heading)
        figure.text(0.5, 0.3, f"There are none among the {len(table)} test images.", ha="center")
        return figure
    groups = selected.groupby("actual")
    columns = max(5, groups.size().max())
    figure = Figure(figsize=(base.WIDTH, (base.WIDTH / columns + 1) * len(groups) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.1)
    count = table["actual"].nunique()
    figure.suptitle(f"{heading}, {len(groups)} of {count} classes" if len(groups) < count else heading, fontsize=14)
    strips = figure.subfigures(len(groups), squeeze=False)[:, 0]
    for (name, part), strip in zip(groups, strips, strict=True):
        predicted = table.loc[table["actual"] == name, "predicted"]
        title = f"Class {base.plain(name, 50)}: {(predicted != name).sum()} of {len(predicted)} wrong"
        strip.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
        _draw_strip(strip, columns, pixels, sizes, part)
    return figure


def _draw_strip(strip: SubFigure, columns: int, pixels: np.ndarray, sizes: Sizes, table: pd.DataFrame) -> None:
    """Draws the images of one class, whose rows in `pixels` are the index of `table`, in a row of `columns` places."""
    places = strip.subplots(1, columns)
    for axes in places:
        axes.axis("off")
    for axes, row, colour in zip(places, table.itertuples(), _colours(table), strict=False):  # some places stay empty
        axes.set_anchor("N")
        axes.imshow(pixels[row.Index], aspect=sizes[row.Index][1] / sizes[row.Index][0])
        path, label, predicted = base.plain(row.path, 24), base.plain(row.actual, 17), base.plain(row.predicted, 18)
        axes.set_title(f"{path}\nlabel: {label}\n{row.probability:.0%} {predicted}", fontsize=8, color=colour, y=1)


def gradcam(pixels: np.ndarray, sizes: Sizes, heat_maps: np.ndarray, table: pd.DataFrame) -> Figure:
    """Draws each image beside its `heat_overlay`, with an outline at half of the maximum."""
    size = pixels.shape[1]
    pairs = np.concatenate([pixels, heat_overlay(pixels, heat_maps)], axis=2)
    titles = []
    for row, heat_map in zip(table.itertuples(), heat_maps, strict=True):
        evidence = "" if heat_map.any() else " (no evidence for it)"
        path = base.shortened(row.path, 52)
        titles.append(f"{row.probability:.0%} {row.predicted}{evidence}\n{_outcome(row)}\n{path}")
    heading = "Grad-CAM: evidence for the predicted class (bright; outlined: at least half of the maximum)"
    figure = base.grid(pairs, titles, heading, _colours(table), sizes)
    for axes, heat_map in zip(figure.axes, heat_maps, strict=False):  # the grid may have more places than images
        if heat_map.any():
            axes.contour(np.arange(size) + size, np.arange(size), heat_map, levels=[0.5], colors="white", linewidths=1)
    return figure


def heat_overlay(pixels: np.ndarray, heat_maps: np.ndarray) -> np.ndarray:
    """Returns images in grey, uint8 as `pixels`, under their heat maps, float [N, size, size] in [0, 1]."""
    grey = pixels.mean(axis=3, keepdims=True) / 255
    heat = matplotlib.colormaps["inferno"](heat_maps)[..., :3]  # brightness shows the evidence to the colour-blind, too
    return ((grey + heat) / 2 * 255).astype(np.uint8)


def _outcome(row: Any) -> str:
    return "correct" if row.actual == row.predicted else f"wrong, actual: {row.actual}"


def _colours(table: pd.DataFrame) -> list[str]:
    return [base.CORRECT if row.actual == row.predicted else base.WRONG for row in table.itertuples()]
