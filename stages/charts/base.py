"""What all charts share: style, colours, saving as PNG and SVG with the same bytes each time, and images in a grid."""

import contextlib
import functools
import io
import math
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from stages.common import cli

# Tried in turn for letters that matplotlib's own font does not have: Chinese, Japanese, Korean, and more.
FONTS = [
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
]
DPI = 120
WIDTH = 10  # inches of the widest PNG: text of 9 points has 8 pixels where two of them share a page of 1280
# Panels of 5 inches, 360 points: at a width of 320 CSS pixels text of 10.5 points has 9.3 pixels; at 600, 17.5.
PANEL, TEXT = (5.0, 3.75), 10.5

# The CSS variables that a page with SVG charts defines, and their values in a light and in a dark page. On the grounds
# #fff and #f4f6f8 or #14171a and #1e2327, text has a contrast of at least 4.5 and the colours of lines of 3 (WCAG 2.2);
# those of models and of classes are told apart by the colour-blind, too. The light ones are those of the PNGs.
CSS = {
    "ground": ("#ffffff", "#14171a"),
    "ink": ("#1b1f23", "#e4e7ea"),
    "soft": ("#525a63", "#a7b0b9"),
    "line": ("#d5dae0", "#363d44"),
    "frozen": ("#c85200", "#ff9d4d"),
    "finetuned": ("#0b62b8", "#5aa9ff"),
    "class-1": ("#1c8087", "#4fdccb"),
    "class-2": ("#86164f", "#e2489f"),
    "class-3": ("#6a6a00", "#dfdb4a"),
    "class-4": ("#8271f0", "#8f7bff"),
    "class-5": ("#c0508f", "#d9a5bf"),
    "wrong": ("#b00020", "#ff8a80"),
}
LIGHT = {name: light for name, (light, _) in CSS.items()}
# The place of a legend: below a panel and the label of its x axis.
BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.45, 0), "borderaxespad": 3.8, "columnspacing": 1}
CORRECT, WRONG = LIGHT["ink"], LIGHT["wrong"]  # of the texts above images
MODELS = {"frozen": "Frozen", "finetuned": "Fine-tuned"}  # in LIGHT, too: one colour for each
DASHES: dict[str, Any] = {
    "training": (0, (1, 1.2)),
    "validation": (0, (4.5, 1.8)),
    "test": "solid",
}  # one for each split
MARKERS = "osD^vPX"


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Within the block, or the function that it decorates, matplotlib has its default settings, and our fonts.

    A matplotlibrc of the user's would give other bytes. To be used around making figures, `save` and `svg`.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        installed = fontManager.get_font_names()
        settings: dict[Any, Any] = {
            "font.family": ["DejaVu Sans", *(name for name in FONTS if name in installed)],
            "text.color": LIGHT["ink"],
            "axes.labelcolor": LIGHT["ink"],
            "axes.edgecolor": LIGHT["soft"],
            "axes.axisbelow": True,
            "grid.color": LIGHT["line"],
            "xtick.color": LIGHT["soft"],
            "ytick.color": LIGHT["soft"],
            "xtick.labelcolor": LIGHT["ink"],
            "ytick.labelcolor": LIGHT["ink"],
            "legend.frameon": False,
            "svg.fonttype": "none",
        }
        texts = (
            "font.size",
            "axes.titlesize",
            "axes.labelsize",
            "xtick.labelsize",
            "ytick.labelsize",
            "legend.fontsize",
        )
        matplotlib.rcParams.update(settings | dict.fromkeys(texts, TEXT))
        yield


def panel(height: float = PANEL[1]) -> tuple[Figure, Axes]:
    """Returns a figure of one panel, as wide as PANEL, and its axes."""
    figure = Figure(figsize=(PANEL[0], height), layout="constrained")
    return figure, figure.subplots()


def percent(fraction: float, _position: float) -> str:
    """Formats the tick of an axis, as matplotlib's formatters do."""
    return f"{100 * fraction:.4g}%"


def class_style(label: int) -> dict[str, Any]:
    """Returns colour and marker of a class, the same in every chart; 35 classes differ in one of the two."""
    return {"color": LIGHT[f"class-{label % 5 + 1}"], "marker": MARKERS[label % len(MARKERS)]}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG: the same bytes each time. Says so if there are letters in it that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        # The least compression: the files are a tenth larger, and the plot stage a fifth faster.
        figure.savefig(path, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    if any("missing from font" in str(warning.message) for warning in caught):
        tell_of_boxes()


@functools.cache
def tell_of_boxes() -> None:
    """Says once in a process that fonts are missing, however many charts have such letters."""
    print(
        "Some letters are drawn as boxes: no font of this machine has them. Install one, such as Noto Sans CJK.",
        file=sys.stderr,
    )


def svg(figure: Figure, prefix: str) -> str:
    """Returns a figure as an <svg> element for a page: the same text each time.

    It is as wide as the page lets it be. Its text is text, in the page's font; its ground is transparent; its colours
    are the variables of CSS.

    Args:
        figure: made within `style`.
        prefix: of its ids, another one for each figure of a page.
    """
    file = io.StringIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": prefix}),
        warnings.catch_warnings(action="ignore"),
    ):  # of missing letters
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"])
        )
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' id="[a-z_.]+_\d+"', "", text)  # of groups: nothing refers to them
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"; font-family: [^;\"]*", "", text)
    text = re.sub(r"\s*<style.*?</style>", "", text, count=1)  # it would be one of the whole page
    names = {light: name for name, light in LIGHT.items()}
    return re.sub(r"(?<=: )#[0-9a-f]{6}", lambda colour: f"var(--{names[colour[0]]})", text)


def restore_aspect(pixels: np.ndarray, size: Sequence[int], side: int) -> np.ndarray:
    """Resizes an image that was resized to a square back to its file's aspect ratio, the longer side to `side`.

    Args:
        pixels: uint8 [n, n, 3].
        size: width and height of the file.
        side: in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    width, height = (max(1, round(side * length / max(size))) for length in size)
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def grid(
    pixels: np.ndarray,
    titles: Sequence[str],
    heading: str,
    colours: Sequence[str] | None = None,
    sizes: np.ndarray | None = None,
) -> Figure:
    """Draws images side by side.

    Args:
        pixels: uint8 [N, height, width, 3].
        titles: N texts, one above each image; what is too long for it is shortened line by line.
        heading: above them all.
        colours: N colours of the titles; that of text if not given.
        sizes: int [N, 2], width and height of the files, whose aspect ratio the images are drawn in; else their own.
    """
    height, width = pixels.shape[1:3]
    columns = math.ceil(math.sqrt(len(pixels) * height / width))
    rows = math.ceil(len(pixels) / columns)
    place = min(2.2 * width / height, WIDTH / columns)  # inches
    figure = Figure(figsize=(place * columns, (place * height / width + 0.4) * rows + 0.4), layout="constrained")
    figure.suptitle(heading)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(pixels):
            axes.set_anchor("N")
            axes.imshow(pixels[number], aspect=1 if sizes is None else sizes[number][1] / sizes[number][0])
            title = "\n".join(plain(line, int(12 * place)) for line in titles[number].split("\n"))
            # With y, matplotlib need not search for ticks above the image that the title must clear: 0.03 s for each.
            axes.set_title(title, fontsize=9, color=colours[number] if colours else CORRECT, y=1)
    return figure


def plain(text: str, width: int) -> str:
    """Shortens a text to one line of `width` characters and keeps matplotlib from reading a formula in it."""
    return shortened(text, width).replace("$", r"\$")


def shortened(text: str, width: int) -> str:
    """Leaves out the middle of a text of over `width` characters; of a path, what stands before the file's name."""
    text = cli.printable(" ".join(text.split()))
    if len(text) <= width:
        return text
    name = len(text) - text.rfind("/") if "/" in text else 0
    end = min(name or width * 2 // 3, width - 2)
    return f"{text[: width - 1 - end]}…{text[-end:]}"
