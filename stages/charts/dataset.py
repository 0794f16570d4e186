"""Charts of the dataset, as matplotlib figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from stages.charts.base import BELOW, DASHES, LIGHT, class_style, panel, percent, plain, restore_aspect

NAMED = 10  # classes that the legend of the sizes names


def contact_sheet(thumbnails: np.ndarray, sizes: np.ndarray, classes: list[str], heading: str) -> Figure:
    """Draws a row of images per class, each of its file's aspect ratio.

    Args:
        thumbnails: uint8 [C, K, size, size, 3].
        sizes: int [C, K, 2], width and height of the files; 0 where a class has fewer than K images.
        classes: C class names.
        heading: above them all.
    """
    count, columns, size = thumbnails.shape[:3]
    place = size + 4  # pixels: with a gap
    sheet = np.full((count * place, columns * place, 3), 255, np.uint8)
    for row, column in np.argwhere(sizes.any(axis=2)):
        image = restore_aspect(thumbnails[row, column], sizes[row, column], size)
        height, width = image.shape[:2]
        top, left = row * place + (size - height) // 2, column * place + (size - width) // 2
        sheet[top : top + height, left : left + width] = image
    figure = Figure(figsize=(columns * 0.8 + 2, count * 0.8 + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)  # one image: an axes for each image would take minutes with 200 classes
    axes.set_title(heading)
    axes.set_yticks(np.arange(count) * place + size / 2, [plain(name, 26) for name in classes])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def sizes(sizes: np.ndarray, labels: np.ndarray, classes: list[str]) -> Figure:
    """Draws the width and height of the image files, a point for each; the legend names up to NAMED classes.

    Args:
        sizes: int [N, 2], width and height in pixels.
        labels: int [N].
        classes: C class names.
    """
    figure, axes = panel(3.6 + 0.2 * min(len(classes), NAMED + 1))
    step = max(1, sizes.max() // 200)  # pixels: points that would cover each other are drawn once
    named = {}  # handed to the legend, which by itself leaves out names that start with an underscore
    for label, name in enumerate(classes):
        of_class = sizes[labels == label]
        width, height = np.unique(of_class // step * step, axis=0).T
        points = axes.scatter(width, height, s=18, alpha=0.6, linewidths=0, **class_style(label))
        if label < NAMED:
            named[points] = f"{plain(name, 14 if len(classes) > 5 else 30)} ({len(of_class)})"
    axes.set(xlabel="Width in pixels", ylabel="Height in pixels")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid()
    axes.legend(
        named.keys(),
        named.values(),
        **BELOW,
        ncols=2 if len(classes) > 5 else 1,
        handletextpad=0.2,
        title=None if len(classes) <= NAMED else f"the first {NAMED} of {len(classes)} classes",
    )
    return figure


def learning_curve(curve: Mapping[str, Any]) -> Figure:
    """Draws accuracy by the number of training images, with its intervals, and what twice as many are expected to give.

    Args:
        curve: sizes, accuracy, intervals, and doubled (or None): size, accuracy and interval of an extrapolation.
    """
    figure, axes = panel()
    color, accuracy = LIGHT["frozen"], np.array(curve["accuracy"])
    axes.errorbar(
        curve["sizes"],
        accuracy,
        yerr=np.abs(np.array(curve["intervals"]).T - accuracy),
        color=color,
        linestyle=DASHES["validation"],
        marker="o",
        capsize=3,
        label="cross-validation, with 95% intervals",
    )
    if doubled := curve["doubled"]:
        axes.plot(
            [curve["sizes"][-1], doubled["size"]], [accuracy[-1], doubled["accuracy"]], color=color, linewidth=0.8
        )
        axes.errorbar(
            doubled["size"],
            doubled["accuracy"],
            yerr=np.abs(np.array([doubled["interval"]]).T - doubled["accuracy"]),
            color=color,
            marker="o",
            fillstyle="none",
            markersize=8,
            linestyle="",
            capsize=3,
            label="extrapolated",
        )
    axes.set(xlabel="Training images (logarithmic)", ylabel="Accuracy", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(percent)
    axes.grid()
    axes.legend(**BELOW)
    return figure
