"""Charts of the training history, as matplotlib figures."""

from collections.abc import Collection
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from stages.charts import base
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN

RING: dict[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "linestyle": "", "color": base.INK}


def panel(history: pd.DataFrame, column: str, averaged: Collection[str]) -> Figure:
    """Draws the accuracy or the loss (cross-entropy) of all epochs, with a ring around each phase's kept epoch.

    `history` has the COLUMNS of common/history.py, and the epochs of both phases. `averaged` names the stages whose
    weights are averaged over steps: validation is that of the averages, which are kept.
    """
    figure, axes = base.panel()
    _draw(axes, history, column)
    _add_legend(figure, 2, history, averaged)
    return figure


def panels(history: pd.DataFrame, averaged: Collection[str]) -> Figure:
    """Draws the panels of accuracy and loss side by side."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        _draw(axes, history, column)
    figure.suptitle("Training and validation in both phases, train_frozen and finetune")
    _add_legend(figure, 5, history, averaged)
    return figure


def _draw(axes: Axes, history: pd.DataFrame, column: str) -> None:
    """Draws training and validation; colours tell the models apart, dashes the splits.

    The validation of fine-tuning starts at that of the frozen model.
    """
    kept = history[history["kept"]]
    start = kept[kept["phase"] == TRAIN_FROZEN.stage]
    for phase in PHASES:
        part, colour = history[history["phase"] == phase.stage], base.LIGHT[phase.model]
        validation = pd.concat([start, part]) if phase == FINETUNE else part
        for split, name, shown in (("training", column, part), ("validation", f"val_{column}", validation)):
            axes.plot(shown["epoch"], shown[name], "o", markersize=3.5, linestyle=base.DASHES[split], color=colour)
    axes.plot(kept["epoch"], kept[f"val_{column}"], **RING)
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    if column == "accuracy":
        axes.set(ylabel="Accuracy", ylim=(None, min(1.01, axes.get_ylim()[1])))
        axes.yaxis.set_major_formatter(base.percent)
    else:
        axes.set_ylabel("Cross-entropy (logarithmic)")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _add_legend(figure: Figure, columns: int, history: pd.DataFrame, averaged: Collection[str]) -> None:
    handles = [Line2D([], [], color=base.LIGHT[phase.model], linewidth=3, label=phase.title) for phase in PHASES]
    for split in ("training", "validation"):
        handles.append(Line2D([], [], color=base.INK, linestyle=base.DASHES[split], label=split))
    kept = set(history["phase"][history["kept"]]) & set(averaged)
    names = ", ".join(phase.title.lower() for phase in PHASES if phase.stage in kept)
    handles.append(Line2D([], [], label=f"kept (averaged: {names})" if names else "kept", **RING))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
