"""Charts of metrics on the test split, as matplotlib figures. Without scikit-learn, which takes a second to import."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.charts.base import BELOW, DASHES, LIGHT, MODELS, PANEL, TEXT, class_style, panel, percent, plain

NAMED = 10  # classes that the legend of the curves names
SHOWN, STAGGERED = 40, 20  # classes: that the confusion matrix has, and up to which their names fit on one side
SHADE = 0.55  # opacity of the darkest cell: text has a contrast of 4.5 on all of them, on a light and on a dark page


def confusion_matrix(actual: pd.Series, predicted: pd.Series, classes: list[str]) -> Figure:
    """Draws the confusion matrix: shades are fractions of each actual class, numbers are images, where they fit.

    Of more than SHOWN classes it has those with most mistakes; of more than STAGGERED, every other name stands at the
    right and at the top.

    Args:
        actual, predicted: N class names.
        classes: C class names.
    """
    counts = pd.crosstab(*(pd.Categorical(names, classes) for names in (actual, predicted)), dropna=False).to_numpy()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mistakes = counts.sum(axis=1) - counts.diagonal()
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN])
    counts, fractions = counts[np.ix_(shown, shown)], fractions[np.ix_(shown, shown)]
    sides = 2 if len(shown) > STAGGERED else 1
    names = [plain(classes[label], 18 // sides) for label in shown]
    longest = 0.62 * TEXT * max(map(len, names))  # points, about
    cell = (72 * PANEL[0] - 30 - sides * longest) / len(shown)
    upright = sides == 1 and longest < cell
    figure, axes = panel(PANEL[0] - longest / 72 * upright)
    for row, column in np.argwhere(counts):
        shade = SHADE * (0.2 + 0.8 * fractions[row, column])
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=LIGHT["finetuned"], alpha=shade, linewidth=0))
        if 0.64 * TEXT * len(str(counts.max())) < cell:
            axes.text(column, row, str(counts[row, column]), ha="center", va="center")
    edges = (-0.5, len(shown) - 0.5)
    of_many = f" ({SHOWN} classes with most mistakes)" if len(classes) > SHOWN else ""
    axes.set(xlim=edges, ylim=edges[::-1], aspect="equal", xlabel=f"Predicted{of_many}", ylabel="Actual")
    for side in range(sides):
        x_axis: Any = axes.secondary_xaxis("top") if side else axes
        y_axis: Any = axes.secondary_yaxis("right") if side else axes
        x_axis.set_xticks(range(side, len(shown), sides), names[side::sides], rotation=0 if upright else 90)
        y_axis.set_yticks(range(side, len(shown), sides), names[side::sides])
    return figure


def roc_curves(roc: pd.DataFrame) -> Figure:
    """Draws the one-versus-rest ROC curve of each class; the legend names the NAMED ones of the smallest area.

    Args:
        roc: DataFrame with class, fpr and tpr.
    """
    figure, axes = panel(_height(roc))
    _draw_roc(axes, roc)
    return figure


def precision_recall_curves(table: pd.DataFrame) -> Figure:
    """Draws the one-versus-rest precision-recall curve of each class, as `roc_curves` does.

    Args:
        table: DataFrame with class, recall and precision; recall rises.
    """
    figure, axes = panel(_height(table))
    _draw_precision_recall(axes, table)
    return figure


def curves(roc: pd.DataFrame, precision_recall: pd.DataFrame) -> Figure:
    """Draws the panels of `roc_curves` and `precision_recall_curves` side by side."""
    figure = Figure(figsize=(2 * PANEL[0], _height(roc) + 0.4), layout="constrained")
    figure.suptitle("One-versus-rest curves of the fine-tuned model on the test split")
    left, right = figure.subplots(1, 2)
    _draw_roc(left, roc)
    _draw_precision_recall(right, precision_recall)
    return figure


def reliability_diagram(table: pd.DataFrame, model: str) -> Figure:
    """Draws a reliability diagram, accuracy by confidence before and after temperature scaling, with its intervals.

    Args:
        table: a row per bin with model, calibrated, confidence, accuracy, low, high and support.
        model: "frozen" or "finetuned".
    """
    figure, axes = panel()
    _draw_reliability(axes, table, model)
    return figure


def reliability(table: pd.DataFrame) -> Figure:
    """Draws the panels of `reliability_diagram` of both models side by side."""
    figure = Figure(figsize=(2 * PANEL[0], PANEL[1] + 0.6), layout="constrained")
    figure.suptitle("Reliability diagrams on the test split: on the diagonal, accuracy equals confidence")
    for axes, (model, title) in zip(figure.subplots(1, 2), MODELS.items(), strict=True):
        _draw_reliability(axes, table, model)
        axes.set_title(title)
    return figure


def _height(table: pd.DataFrame) -> float:
    """Returns the height in inches of a panel of curves, whose legend grows with the classes."""
    return 3.6 + 0.2 * min(table["class"].nunique(), NAMED + 2)


def _draw_roc(axes: Axes, roc: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=LIGHT["soft"], linewidth=0.8)
    _draw_curves(axes, roc[["class", "fpr", "tpr"]], _area, "AUC", "default")
    axes.set(xlabel="False positive rate", ylabel="True positive rate (recall)")


def _draw_precision_recall(axes: Axes, table: pd.DataFrame) -> None:
    _draw_curves(axes, table[["class", "recall", "precision"]], _average_precision, "AP", "steps-pre")
    axes.set(xlabel="Recall", ylabel="Precision")


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """As sklearn.metrics.auc has it."""
    return float(np.trapezoid(y, x))


def _average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """As sklearn.metrics.average_precision_score has it, without interpolation: the area below the steps."""
    return float(np.sum(np.diff(recall) * precision[1:]))


def _draw_curves(
    axes: Axes,
    table: pd.DataFrame,
    area: Callable[[np.ndarray, np.ndarray], float],
    measure: str,
    drawstyle: str,
) -> None:
    """Draws the curve of each class, the one with the smallest area first.

    Args:
        axes: to draw on.
        table: class, x and y; the classes stand in their order.
        area: of x and y.
        measure: what the legend calls the area.
        drawstyle: of the lines, as matplotlib names it.
    """
    names = table["class"].unique()
    curves = [part.iloc[:, 1:].to_numpy().T for _, part in table.groupby("class", sort=False)]
    areas = np.array([area(*curve) for curve in curves])
    for rank, label in enumerate(np.argsort(areas, kind="stable")):
        if rank < NAMED:
            axes.plot(
                *curves[label],
                **class_style(label),
                drawstyle=drawstyle,
                linestyle=DASHES["test"],
                linewidth=1.8,
                markersize=5,
                markevery=(0.03 * (rank % 5), 0.25),  # of the axes' diagonal
                zorder=3,
                label=f"{measure} {areas[label]:.1%}: {plain(names[label], 14 if len(names) > 5 else 30)}",
            )
        else:
            other = "the other classes" if rank == NAMED else None
            axes.plot(*curves[label], drawstyle=drawstyle, color=LIGHT["soft"], linewidth=0.6, label=other)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent)
    axes.grid()
    axes.legend(
        **BELOW,
        ncols=2 if len(names) > 5 else 1,
        handlelength=1.5,
        title=f"the {NAMED} lowest of {len(names)} classes" if len(names) > NAMED else None,
    )


def _draw_reliability(axes: Axes, table: pd.DataFrame, model: str) -> None:
    """Draws hollow points before and filled ones after temperature scaling, with error bars."""
    axes.plot([0, 1], [0, 1], color=LIGHT["soft"], linewidth=0.8)
    for calibrated, marker in ((False, "s"), (True, "o")):
        bins = table[(table["model"] == model) & (table["calibrated"] == calibrated)]
        axes.errorbar(
            bins["confidence"],
            bins["accuracy"],
            yerr=[bins["accuracy"] - bins["low"], bins["high"] - bins["accuracy"]],
            color=LIGHT[model] if calibrated else LIGHT["soft"],
            marker=marker,
            fillstyle="full" if calibrated else "none",
            linestyle=DASHES["test"] if calibrated else "",
            elinewidth=1,
            capsize=3,
            label=f"{'after' if calibrated else 'before'} temperature scaling",
        )
    axes.set(ylabel="Accuracy", xlabel="Confidence (probability of the top-1 class)")
    axes.set(xlim=(table["confidence"].min() - 0.03, 1.02), ylim=(table["low"].min() - 0.03, 1.03))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent)
    axes.grid()
    axes.legend(**BELOW, ncols=2)
