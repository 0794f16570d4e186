"""What all charts share: style, colours, a grid of images, and saving with the same bytes each time."""

import contextlib
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

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
TRAINING, VALIDATION, CORRECT, WRONG = "#0072b2", "#d55e00", "#222222", "#b00020"  # told apart by the colour-blind too


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Within the block, or the function that it decorates, matplotlib has its default settings, and our fonts.

    A matplotlibrc of the user's would give other bytes. To be used around making figures and `save`.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        installed = fontManager.get_font_names()
        matplotlib.rcParams["font.family"] = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
        yield


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG: the same bytes each time. Says so if there are letters in it that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        # The least compression: the files are a tenth larger, and the plot stage a fifth faster.
        figure.savefig(path, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    if any("missing from font" in str(warning.message) for warning in caught):
        print(
            "Some letters are drawn as boxes: no font of this machine has them. Install one, such as Noto Sans CJK.",
            file=sys.stderr,
        )


def grid(pixels: np.ndarray, titles: Sequence[str], heading: str, colours: Sequence[str] | None = None) -> Figure:
    """Draws images side by side.

    Args:
        pixels: uint8 [N, height, width, 3].
        titles: N texts, one above each image; what is too long for it is shortened line by line.
        heading: above them all.
        colours: N colours of the titles; black if not given.
    """
    columns = math.ceil(math.sqrt(len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    height, width = pixels.shape[1:3]
    figure = Figure(figsize=(2.2 * columns * width / height, 2.5 * rows + 0.4), layout="constrained")
    figure.suptitle(heading)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(pixels):
            axes.imshow(pixels[number])
            title = "\n".join(plain(line, 26 * width // height) for line in titles[number].split("\n"))
            # With y, matplotlib need not search for ticks above the image that the title must clear: 0.03 s for each.
            axes.set_title(title, fontsize=9, color=colours[number] if colours else "black", y=1)
    return figure


def plain(text: str, width: int) -> str:
    """Shortens a text to one line of `width` characters and keeps matplotlib from reading a formula in it."""
    return shortened(text, width).replace("$", r"\$")


def shortened(text: str, width: int) -> str:
    """Leaves out the middle of a text of over `width` characters; of a path, what stands before the file's name."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    name = len(text) - text.rfind("/") if "/" in text else 0
    end = min(name or width * 2 // 3, width - 2)
    return f"{text[: width - 1 - end]}…{text[-end:]}"
