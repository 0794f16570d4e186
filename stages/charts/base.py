"""Shared parts of all charts: style, colours, reproducible PNG and SVG files, grids of images."""

import contextlib
import functools
import io
import math
import re
import sys
import textwrap
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
from stages.common.arrays import Sizes

# Fonts for letters that matplotlib's own font lacks (Chinese, Japanese, Korean and more), in order of preference.
FONTS = (
    "Noto Sans CJK SC, Noto Sans CJK JP, Noto Sans Devanagari, Noto Sans Thai, WenQuanYi Zen Hei, Arial Unicode MS, "
    "PingFang SC, Hiragino Sans, Apple SD Gothic Neo"
).split(", ")
DPI = 120  # pixels per inch of a PNG
WIDTH = 10  # inches, maximum width of a PNG: text of 9 points has 8 pixels where two of them share a page of 1280
# Size of a panel in inches, and of its text in points: at a width of 320 CSS pixels the text has 9.3; at 600, 17.5.
PANEL, TEXT = (5.0, 3.75), 10.5
LEGEND_CLASSES = 10  # maximum number of classes that a legend names

# The CSS variables that a page with SVG charts defines, and their values in a light and in a dark page. On the grounds
# #fff and #f4f6f8 or #14171a and #1e2327, text has a contrast of at least 4.5 and the colours of lines of 3 (WCAG 2.2);
# people with colour blindness can tell apart those of models and those of classes. PNGs have the light ones.
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
INK = LIGHT["ink"]
CORRECT, WRONG = INK, LIGHT["wrong"]  # colours of the titles of images
DASHES: dict[str, Any] = {"training": (0, (1, 1.2)), "validation": (0, (4.5, 1.8)), "test": "solid"}
MARKERS = "osD^vPX"
# Position of a legend below a panel and the label of its x axis, as keyword arguments of Axes.legend.
BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.45, 0), "borderaxespad": 3.8, "columnspacing": 1}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Gives matplotlib its default settings and our fonts and colours, in a block or in a decorated function.

    The user's own matplotlibrc would give other bytes. Figures are made, and `save` and `svg` called, within it.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        installed = fontManager.get_font_names()
        settings: dict[Any, Any] = {
            "font.family": ["DejaVu Sans", *(name for name in FONTS if name in installed)],
            "font.size": TEXT,
            "axes.titlesize": "medium",
            "axes.axisbelow": True,
            "grid.color": LIGHT["line"],
            "legend.frameon": False,
            "svg.fonttype": "none",
        }
        settings |= dict.fromkeys(["axes.edgecolor", "xtick.color", "ytick.color"], LIGHT["soft"])
        texts = ["text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"]
        matplotlib.rcParams.update(settings | dict.fromkeys(texts, INK))
        yield


def panel(height: float = PANEL[1]) -> tuple[Figure, Axes]:
    """Returns a figure of one panel, as wide as PANEL and `height` inches high, and its axes."""
    figure = Figure(figsize=(PANEL[0], height), layout="constrained")
    return figure, figure.subplots()


def percent(fraction: float, _position: float) -> str:
    """Formats a tick of an axis as a percentage, for matplotlib's set_major_formatter."""
    return f"{100 * fraction:.4g}%"


def class_style(label: int) -> dict[str, Any]:
    """Returns colour and marker of a class, the same in every chart; 35 classes differ in one of the two."""
    return {"color": LIGHT[f"class-{label % 5 + 1}"], "marker": MARKERS[label % len(MARKERS)]}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, with the same bytes each time; reports letters that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        # With the least compression the files are a tenth larger, and the stage plot a fifth faster.
        figure.savefig(path, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    if any("missing from font" in str(warning.message) for warning in caught):
        report_missing_fonts()


@functools.cache
def report_missing_fonts() -> None:
    """Reports once in a process that letters are drawn as boxes, however many charts have such letters."""
    reason = "no font of this machine has them. Install one, such as Noto Sans CJK."
    print(f"Some letters are drawn as boxes: {reason}", file=sys.stderr)


def svg(figure: Figure, prefix: str) -> str:
    """Returns a figure as an <svg> element for a page, the same text each time.

    It is as wide as the page allows. Its ground is transparent, its text has the page's font, and its colours are the
    variables of CSS. All ids in it start with `prefix`, which must differ between the figures of a page.
    """
    file, metadata = io.StringIO(), dict.fromkeys(["Date", "Creator", "Format", "Type"])
    missing_letters = warnings.catch_warnings(action="ignore")  # a browser has more fonts than matplotlib
    with matplotlib.rc_context({"svg.hashsalt": prefix}), missing_letters:
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' id="[a-z_.]+_\d+"', "", text)  # ids of groups: nothing refers to them
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"; font-family: [^;\"]*", "", text)
    text = re.sub(r"\s*<style.*?</style>", "", text, count=1)  # it would apply to the whole page
    names = {light: name for name, light in LIGHT.items()}
    return re.sub(r"(?<=: )#[0-9a-f]{6}", lambda colour: f"var(--{names[colour[0]]})", text)


def restore_aspect(pixels: np.ndarray, size: Sequence[int], side: int) -> np.ndarray:
    """Resizes a square image, uint8 [n, n, 3], to the aspect ratio of `size` (width, height), `side` pixels at most."""
    width, height = (max(1, round(side * length / max(size))) for length in size)
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def grid(
    pixels: np.ndarray, titles: Sequence[str], heading: str, colours: Sequence[str] = (), sizes: Sizes | None = None
) -> Figure:
    """Draws images side by side.

    Args:
        pixels: uint8 [N, height, width, 3].
        titles: a title for each image; each of its lines is shortened to the width of the image.
        heading: the title of the figure, which is wrapped.
        colours: colours of the titles; the colour of text if not given.
        sizes: sizes of the files, whose aspect ratios the images are drawn in; those of `pixels` if not given.
    """
    height, width = pixels.shape[1:3]
    columns = math.ceil(math.sqrt(len(pixels) * height / width))
    rows = math.ceil(len(pixels) / columns)
    place = min(2.2 * width / height, WIDTH / columns)  # inches
    wide = max(place * columns, PANEL[0])
    heading = textwrap.fill(heading, int(9 * wide))
    lines = 0.2 * max(2, *(title.count("\n") + 1 for title in titles))
    high = (place * height / width + lines) * rows + 0.2 * heading.count("\n") + 0.4
    figure = Figure(figsize=(wide, high), layout="constrained")
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
    """Shortens a text to one line of `width` characters without its middle; a path keeps the name of its file."""
    text = cli.printable(" ".join(text.split()))
    if len(text) <= width:
        return text
    name = len(text) - text.rfind("/") if "/" in text else 0
    end = min(name or width * 2 // 3, width - 2)
    return f"{text[: width - 1 - end]}…{text[-end:]}"
