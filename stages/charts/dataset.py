"""Charts of the dataset, as matplotlib figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from stages.charts import base
from stages.common.arrays import Labels, Sizes


def contact_sheet(thumbnails: np.ndarray, sizes: np.ndarray, classes: list[str], heading: str) -> Figure:
    """Draws a row of images per class, each in the aspect ratio of its file.

    Args:
        thumbnails: uint8 [C, K, size, size, 3].
        sizes: int [C, K, 2], width and height of the files; 0 where a class has fewer than K images.
    """
    count, columns, size = thumbnails.shape[:3]
    place = size + 4  # pixels, with the gap between images
    sheet = np.full((count * place, columns * place, 3), 255, np.uint8)
    for row, column in np.argwhere(sizes.any(axis=2)):
        image = base.restore_aspect(thumbnails[row, column], sizes[row, column], size)
        height, width = image.shape[:2]
        top, left = row * place + (size - height) // 2, column * place + (size - width) // 2
        sheet[top : top + height, left : left + width] = image
    figure = Figure(figsize=(columns * 0.8 + 2, count * 0.8 + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)  # one image: an axes for each thumbnail would take minutes with 200 classes
    axes.set_title(heading)
    axes.set_yticks(np.arange(count) * place + size / 2, [base.plain(name, 26) for name in classes])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def sizes(sizes: Sizes, labels: Labels, classes: list[str]) -> Figure:
    """Draws a point for the width and height of each image file; the legend names up to LEGEND_CLASSES classes."""
    figure, axes = base.panel(3.6 + 0.2 * min(len(classes), base.LEGEND_CLASSES + 1))
    step = max(1, sizes.max() // 200)  # pixels: points that would cover each other are drawn once
    named = {}  # given to the legend, which by default omits names that start with an underscore
    for label, name in enumerate(classes):
        of_class = sizes[labels == label]
        width, height = np.unique(of_class // step * step, axis=0).T
        points = axes.scatter(width, height, s=18, alpha=0.6, linewidths=0, **base.class_style(label))
        if label < base.LEGEND_CLASSES:
            named[points] = f"{base.plain(name, 14 if len(classes) > 5 else 30)} ({len(of_class)})"
    axes.set(xlabel="Width in pixels", ylabel="Height in pixels", xlim=(0, None), ylim=(0, None))
    axes.grid()
    title = f"the first {base.LEGEND_CLASSES} of {len(classes)} classes" if len(classes) > base.LEGEND_CLASSES else None
    columns = 2 if len(classes) > 5 else 1
    axes.legend(named.keys(), named.values(), **base.BELOW, ncols=columns, handletextpad=0.2, title=title)
    return figure


def learning_curve(curve: Mapping[str, Any]) -> Figure:
    """Draws accuracy by the number of training images, and the accuracy expected of twice as many.

    `curve` has sizes, accuracy, intervals, and doubled: size, accuracy and interval of the extrapolation, or None.
    """
    figure, axes = base.panel()
    look = {"linestyle": base.DASHES["validation"], "label": "cross-validation, with 95% intervals"}
    _draw_intervals(axes, curve["sizes"], curve["accuracy"], curve["intervals"], **look)
    if doubled := curve["doubled"]:
        ends = [curve["sizes"][-1], doubled["size"]], [curve["accuracy"][-1], doubled["accuracy"]]
        axes.plot(*ends, color=base.LIGHT["frozen"], linewidth=0.8)
        look = {"linestyle": "", "fillstyle": "none", "markersize": 8, "label": "extrapolated"}
        _draw_intervals(axes, [doubled["size"]], [doubled["accuracy"]], [doubled["interval"]], **look)
    axes.set(xlabel="Training images (logarithmic)", ylabel="Accuracy", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(base.percent)
    axes.grid()
    axes.legend(**base.BELOW)
    return figure


def _draw_intervals(axes: Axes, x: list[float], y: list[float], intervals: list[list[float]], **look: Any) -> None:
    """Draws points with error bars that end at `intervals`."""
    below_and_above = np.abs(np.array(intervals).T - np.array(y))
    axes.errorbar(x, y, yerr=below_and_above, color=base.LIGHT["frozen"], marker="o", capsize=3, **look)
