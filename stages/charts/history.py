"""Chart of the training history, as a matplotlib figure."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.charts.base import TRAINING, VALIDATION


def history(history: pd.DataFrame) -> Figure:
    """Draws accuracy above and loss below over the epochs of both phases, with a line where fine-tuning starts.

    Args:
        history: DataFrame with the COLUMNS of training.history. A ring marks the epoch of each phase whose weights were
            kept.
    """
    figure = Figure(figsize=(8, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    start = history.loc[history["phase"] == "finetune", "epoch"].min() - 0.5
    kept = history[history["kept"]]
    for axes, column, label in ((upper, "accuracy", "Accuracy"), (lower, "loss", "Loss (cross-entropy)")):
        axes.plot(history["epoch"], history[column], "o-", color=TRAINING, label="training")
        axes.plot(history["epoch"], history[f"val_{column}"], "s-", color=VALIDATION, label="validation")
        axes.plot(
            kept["epoch"], kept[f"val_{column}"], "o", markersize=13, fillstyle="none", color="black", label="kept"
        )
        axes.axvline(start, color="grey", linestyle="--", label="fine-tuning starts")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    upper.set_title("Training and validation in both phases, train_frozen and finetune")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("Epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
