"""Charts of the dataset, as matplotlib figures."""

import numpy as np
from matplotlib.figure import Figure

from stages.charts.base import plain

NAMED = 10  # classes that the legend of the sizes names


def contact_sheet(thumbnails: np.ndarray, classes: list[str], heading: str) -> Figure:
    """Draws a row of images per class.

    Args:
        thumbnails: uint8 [C, K, size, size, 3]; white where a class has fewer than K images.
        classes: C class names.
        heading: above them all.
    """
    count, columns, size = thumbnails.shape[:3]
    gap = 4  # pixels
    sheet = np.pad(thumbnails, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(count * (size + gap), columns * (size + gap), 3)
    figure = Figure(figsize=(columns * 0.8 + 2, count * 0.8 + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)  # one image: an axes for each image would take minutes with 200 classes
    axes.set_title(heading)
    axes.set_yticks(np.arange(count) * (size + gap) + size / 2, [plain(name, 26) for name in classes])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def sizes(sizes: np.ndarray, labels: np.ndarray, classes: list[str]) -> Figure:
    """Draws the width and height of the image files, a point each; the legend names up to NAMED classes.

    Args:
        sizes: int [N, 2], width and height in pixels.
        labels: int [N].
        classes: C class names.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    for label, name in enumerate(classes):
        width, height = sizes[labels == label].T
        axes.scatter(
            width,
            height,
            s=16,
            alpha=0.5,
            linewidths=0,
            color=f"C{label % 10}",
            label=f"{plain(name, 26)} ({len(width)})" if label < NAMED else None,
        )
    axes.set_title(f"Original sizes of {len(sizes)} images")
    axes.set_xlabel("Width in pixels")
    axes.set_ylabel("Height in pixels")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(title=None if len(classes) <= NAMED else f"the first {NAMED} of {len(classes)} classes")
    return figure
