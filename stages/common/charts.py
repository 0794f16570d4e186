"""Charts of a run, as matplotlib figures."""

import math
import sys
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator

# Tried in turn for letters that matplotlib's own font does not have: Chinese, Japanese, Korean, and more.
FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Sans Thai", "WenQuanYi Zen Hei",
         "Arial Unicode MS", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo"]

matplotlib.rcdefaults()  # a matplotlibrc of the user's would give other bytes
installed = fontManager.get_font_names()
matplotlib.rcParams["font.family"] = ["DejaVu Sans", *(name for name in FONTS if name in installed)]

TRAINING, VALIDATION, RIGHT, WRONG = "#0072b2", "#d55e00", "#222222", "#b00020"  # told apart by the colour-blind too


def save(figure, path):
    """Writes a figure as PNG: the same bytes each time. Says so if there are letters in it that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        # The least compression: the files are a tenth larger, and the plot stage a fifth faster.
        figure.savefig(path, format="png", dpi=120, pil_kwargs={"compress_level": 1})
    if any("missing from font" in str(warning.message) for warning in caught):
        print("Some letters are drawn as boxes: no font of this machine has them. Install one, such as Noto Sans CJK.",
              file=sys.stderr)


def history(history):
    """Draws accuracy above and loss below over the epochs of both phases, with a line where fine-tuning starts.

    Args:
        history: DataFrame with history.COLUMNS. A ring marks the epoch of each phase whose weights were kept.
    """
    figure = Figure(figsize=(8, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    start = history.loc[history["phase"] == "finetune", "epoch"].min() - 0.5
    kept = history[history["kept"]]
    for axes, column, label in ((upper, "accuracy", "Accuracy"), (lower, "loss", "Loss (cross-entropy)")):
        axes.plot(history["epoch"], history[column], "o-", color=TRAINING, label="training")
        axes.plot(history["epoch"], history[f"val_{column}"], "s-", color=VALIDATION, label="validation")
        axes.plot(kept["epoch"], kept[f"val_{column}"], "o", markersize=13, fillstyle="none", color="black", label="kept")
        axes.axvline(start, color="grey", linestyle="--", label="fine-tuning starts")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    upper.set_title("Training and validation, frozen base and fine-tuning")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("Epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def grid(pixels, titles, heading, colours=None):
    """Draws pictures side by side.

    Args:
        pixels: uint8 [N, height, width, 3].
        titles: N texts, one above each picture; what is too long for it is shortened line by line.
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
            # With y, matplotlib need not look for ticks above the picture that the title must clear: 0.03 s for each.
            axes.set_title(title, fontsize=9, color=colours[number] if colours else "black", y=1)
    return figure


def contact_sheet(thumbnails, classes, heading):
    """Draws a row of pictures per class.

    Args:
        thumbnails: uint8 [C, K, size, size, 3]; white where a class has fewer than K pictures.
        classes: C class names.
        heading: above them all.
    """
    count, columns, size = thumbnails.shape[:3]
    gap = 4  # pixels
    sheet = np.pad(thumbnails, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(count * (size + gap), columns * (size + gap), 3)
    figure = Figure(figsize=(columns * 0.8 + 2, count * 0.8 + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)  # one image: an axes for each picture would take minutes with 200 classes
    axes.set_title(heading)
    axes.set_yticks(np.arange(count) * (size + gap) + size / 2, [plain(name, 26) for name in classes])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def sizes(sizes, labels, classes):
    """Draws the width and height that the pictures had, a point each; the legend names up to ten classes.

    Args:
        sizes: int [N, 2], width and height in pixels.
        labels: int [N].
        classes: C class names.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    for label, name in enumerate(classes):
        width, height = sizes[labels == label].T
        axes.scatter(width, height, s=16, alpha=0.5, linewidths=0, color=f"C{label % 10}",
                     label=f"{plain(name, 26)} ({len(width)})" if label < 10 else None)
    axes.set_title(f"Original sizes of {len(sizes)} pictures")
    axes.set_xlabel("Width in pixels")
    axes.set_ylabel("Height in pixels")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(title=None if len(classes) <= 10 else f"the first 10 of {len(classes)} classes")
    return figure


def plain(text, width):
    """Shortens a text to one line of `width` characters and keeps matplotlib from reading a formula in it."""
    return shortened(text, width).replace("$", r"\$")


def shortened(text, width):
    """Cuts out of the middle what a text has over `width` characters; of a path, out of what stands before the file's name."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    name = len(text) - text.rfind("/") if "/" in text else 0
    end = min(name or width * 2 // 3, width - 2)
    return f"{text[: width - 1 - end]}…{text[-end:]}"
