"""Charts of a run, as matplotlib figures."""

import math
import textwrap

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAINING, VALIDATION, RIGHT, WRONG = "#0072b2", "#d55e00", "#222222", "#b00020"  # told apart by the colour-blind too


def save(figure, path):
    """Writes a figure as PNG: the same bytes each time."""
    figure.savefig(path, format="png", dpi=120)


def history(history):
    """Draws accuracy above and loss below over the epochs of both phases, with a line where fine-tuning starts.

    Args:
        history: DataFrame with the columns epoch, phase, accuracy, val_accuracy, loss and val_loss.
    """
    figure = Figure(figsize=(8, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    start = history.loc[history["phase"] == "finetune", "epoch"].min() - 0.5
    for axes, column, label in ((upper, "accuracy", "Accuracy"), (lower, "loss", "Loss (cross-entropy)")):
        axes.plot(history["epoch"], history[column], "o-", color=TRAINING, label="training")
        axes.plot(history["epoch"], history[f"val_{column}"], "s-", color=VALIDATION, label="validation")
        axes.axvline(start, color="grey", linestyle="--", label="fine-tuning starts")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    upper.set_title("Training and validation, frozen base and fine-tuning")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("Epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def predictions(pixels, table):
    """Draws pictures with their true and predicted class; the wrong ones in red.

    Args:
        pixels: uint8 [N, size, size, 3].
        table: N rows with actual, predicted and probability.
    """
    titles, colours = [], []
    for row in table.itertuples():
        right = row.actual == row.predicted
        titles.append(f"{row.predicted} {row.probability:.0%}\n" + ("right" if right else f"wrong: it is {row.actual}"))
        colours.append(RIGHT if right else WRONG)
    return grid(pixels, titles, "Test pictures, as the fine-tuned model sees them", colours)


def grid(pixels, titles, heading, colours=None):
    """Draws pictures side by side.

    Args:
        pixels: uint8 [N, size, size, 3].
        titles: N texts, one above each picture.
        heading: above them all.
        colours: N colours of the titles; black if not given.
    """
    columns = math.ceil(math.sqrt(len(pixels)))
    rows = math.ceil(len(pixels) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.5 * rows + 0.4), layout="constrained")
    figure.suptitle(heading)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(pixels):
            axes.imshow(pixels[number])
            title = "\n".join(textwrap.shorten(line, 26, placeholder="...") for line in titles[number].split("\n"))
            # "$" would start a formula
            axes.set_title(title.replace("$", r"\$"), fontsize=9, color=colours[number] if colours else "black")
    return figure
