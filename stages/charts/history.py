"""Charts of the training history, as matplotlib figures."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from stages.charts.base import DASHES, LIGHT, MODELS, panel, percent

PHASES = {"train_frozen": "frozen", "finetune": "finetuned"}  # and the models that they train
KEPT: dict[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "linestyle": "", "color": LIGHT["ink"]}


def accuracy(history: pd.DataFrame) -> Figure:
    """Draws accuracy over the epochs of both phases.

    Args:
        history: DataFrame with the COLUMNS of training.history. A ring marks the epoch of each phase whose weights were
            kept.
    """
    figure, axes = panel()
    _draw(axes, history, "accuracy")
    _add_legend(figure, 3)
    return figure


def loss(history: pd.DataFrame) -> Figure:
    """Draws the cross-entropy over the epochs of both phases, as `accuracy` does."""
    figure, axes = panel()
    _draw(axes, history, "loss")
    _add_legend(figure, 3)
    return figure


def both(history: pd.DataFrame) -> Figure:
    """Draws the panels of `accuracy` and `loss` side by side."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        _draw(axes, history, column)
    figure.suptitle("Training and validation in both phases, train_frozen and finetune")
    _add_legend(figure, 5)
    return figure


def _draw(axes: Axes, history: pd.DataFrame, column: str) -> None:
    """Draws training and validation, a colour for each model that is trained and a dash for each split."""
    for phase, part in history.groupby("phase", sort=False):
        colour = LIGHT[PHASES[phase]]
        for split, name in (("training", column), ("validation", f"val_{column}")):
            axes.plot(part["epoch"], part[name], "o", markersize=3.5, linestyle=DASHES[split], color=colour)
    kept = history[history["kept"]]
    axes.plot(kept["epoch"], kept[f"val_{column}"], **KEPT)
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    if column == "accuracy":
        axes.set(ylabel="Accuracy", ylim=(None, min(1.01, axes.get_ylim()[1])))
        axes.yaxis.set_major_formatter(percent)
    else:
        axes.set_ylabel("Cross-entropy (logarithmic)")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _add_legend(figure: Figure, columns: int) -> None:
    lines = [Line2D([], [], color=LIGHT[model], linewidth=3, label=MODELS[model]) for model in PHASES.values()]
    lines += [
        Line2D([], [], color=LIGHT["ink"], linestyle=DASHES[split], label=split) for split in ("training", "validation")
    ]
    figure.legend(handles=[*lines, Line2D([], [], label="kept", **KEPT)], loc="outside lower center", ncols=columns)
