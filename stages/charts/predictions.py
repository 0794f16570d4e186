"""Charts that show images of the test split with what was predicted, as matplotlib figures."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from stages.charts.base import RIGHT, WRONG, grid, plain, shortened


def predictions(pixels, table):
    """Draws images with their true and predicted class; the wrong ones in red.

    Args:
        pixels: uint8 [N, size, size, 3].
        table: N rows with actual, predicted and probability.
    """
    titles = [f"{row.predicted} {row.probability:.0%}\n{_verdict(row)}" for row in table.itertuples()]
    return grid(pixels, titles, "Test images, as the fine-tuned model sees them", _colours(table))


def by_class(pixels, rows, table, heading):
    """Draws images in a row for each true class, with path, label, predicted class and its probability.

    Args:
        pixels: uint8 [K, size, size, 3]; K may be 0.
        rows: int [K], where these are in `table`, class by class.
        table: N rows with path, actual, predicted and probability: all of the test split.
        heading: above them all.
    """
    shown = table.iloc[rows].reset_index(drop=True)
    if shown.empty:
        figure = Figure(figsize=(8, 1.5), layout="constrained")
        figure.suptitle(heading)
        figure.text(0.5, 0.3, f"There are none among the {len(table)} test images.", ha="center")
        return figure
    groups = shown.groupby("actual")
    columns = max(4, groups.size().max())
    figure = Figure(figsize=(2.4 * columns, 3.4 * len(groups) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.1)
    count = table["actual"].nunique()
    figure.suptitle(f"{heading}, {len(groups)} of {count} classes" if len(groups) < count else heading, fontsize=14)
    for (name, part), strip in zip(groups, figure.subfigures(len(groups), squeeze=False)[:, 0]):
        whole = table[table["actual"] == name]
        strip.suptitle(
            f"{(whole['predicted'] != name).sum()} of {len(whole)} wrong: {plain(name, 50)}",
            x=0.01,
            ha="left",
            weight="bold",
            fontsize=11,
        )
        axes = strip.subplots(1, columns, squeeze=False)[0]
        for place in axes:
            place.axis("off")
        for place, row, colour in zip(axes, part.itertuples(), _colours(part)):
            place.imshow(pixels[row.Index])
            place.set_title(
                f"{plain(row.path, 34)}\nlabel: {plain(row.actual, 26)}\n"
                f"predicted {row.probability:.0%}: {plain(row.predicted, 18)}",
                fontsize=8,
                color=colour,
                y=1,
            )
    return figure


def gradcam(pixels, maps, table):
    """Draws each image beside its heat map, which is laid over it in grey, with an outline at half of the maximum.

    Args:
        pixels: uint8 [N, size, size, 3].
        maps: float [N, size, size] in [0, 1], for the predicted class.
        table: N rows with path, actual, predicted and probability.
    """
    size = pixels.shape[1]
    grey = pixels.mean(axis=3, keepdims=True) / 255
    heat = matplotlib.colormaps["inferno"](maps)[..., :3]  # the brighter, the more: told apart without colours, too
    pairs = np.concatenate([pixels, ((grey + heat) / 2 * 255).astype(np.uint8)], axis=2)
    titles = [
        f"{row.probability:.0%} {row.predicted}{'' if one.any() else ' (nowhere in particular)'}\n{_verdict(row)}\n"
        f"{shortened(row.path, 52)}"
        for row, one in zip(table.itertuples(), maps)
    ]
    figure = grid(
        pairs,
        titles,
        "Grad-CAM: what speaks for the predicted class (bright; outlined: at least half of the most)",
        _colours(table),
    )
    for axes, one in zip(figure.axes, maps):
        if one.any():
            axes.contour(np.arange(size) + size, np.arange(size), one, levels=[0.5], colors="white", linewidths=1)
    return figure


def _verdict(row):
    return "right" if row.actual == row.predicted else f"wrong: it is {row.actual}"


def _colours(table):
    return [RIGHT if row.actual == row.predicted else WRONG for row in table.itertuples()]
