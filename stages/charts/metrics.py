"""Charts of metrics on the test split, as matplotlib figures. Without scikit-learn, which takes a second to import."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.charts import base
from stages.common.phases import PHASES

SHOWN = 40  # maximum number of classes in the confusion matrix
STAGGERED = 20  # number of classes above which their names alternate between two sides of the matrix
SHADE = 0.55  # opacity of the darkest cell: text has a contrast of 4.5 on all of them, on a light and on a dark page


def confusion_matrix(actual: pd.Series, predicted: pd.Series, classes: list[str]) -> Figure:
    """Draws the confusion matrix: shades are fractions of each actual class, numbers are images, where they fit.

    Of more than SHOWN classes, it shows those with most mistakes. Of more than STAGGERED, every other name stands at
    the right and at the top. `actual` and `predicted` hold the name of a class for each image.
    """
    counts = pd.crosstab(*(pd.Categorical(names, classes) for names in (actual, predicted)), dropna=False).to_numpy()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mistakes = counts.sum(axis=1) - counts.diagonal()
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN])
    counts, fractions = counts[np.ix_(shown, shown)], fractions[np.ix_(shown, shown)]
    sides = 2 if len(shown) > STAGGERED else 1
    names = [base.plain(classes[label], 18 // sides) for label in shown]
    longest = 0.62 * base.TEXT * max(map(len, names))  # points, about
    cell = (72 * base.PANEL[0] - 30 - sides * longest) / len(shown)  # points
    upright = sides == 1 and longest < cell
    figure, axes = base.panel(base.PANEL[0] - longest / 72 * upright)
    look: dict[str, Any] = {"color": base.LIGHT["finetuned"], "linewidth": 0}
    for row, column in np.argwhere(counts):
        shade = SHADE * (0.2 + 0.8 * fractions[row, column])
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, alpha=shade, **look))
        if 0.64 * base.TEXT * len(str(counts.max())) < cell:
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


def roc_curves(table: pd.DataFrame) -> Figure:
    """Draws the one-versus-rest ROC curve of each class from the columns class, fpr and tpr, class by class."""
    figure, axes = base.panel(_height(table))
    _draw_roc(axes, table)
    return figure


def precision_recall_curves(table: pd.DataFrame) -> Figure:
    """Draws the precision-recall curves as `roc_curves` does, from class, recall, which rises, and precision."""
    figure, axes = base.panel(_height(table))
    _draw_precision_recall(axes, table)
    return figure


def curves(roc: pd.DataFrame, precision_recall: pd.DataFrame) -> Figure:
    """Draws the panels of `roc_curves` and `precision_recall_curves` side by side."""
    figure = Figure(figsize=(2 * base.PANEL[0], _height(roc) + 0.4), layout="constrained")
    figure.suptitle("One-versus-rest curves of the exported model on the test split")
    left, right = figure.subplots(1, 2)
    _draw_roc(left, roc)
    _draw_precision_recall(right, precision_recall)
    return figure


def reliability_diagram(table: pd.DataFrame, model: str) -> Figure:
    """Draws the accuracy by confidence of a model, "frozen" or "finetuned", before and after temperature scaling.

    `table` has a row per bin with model, calibrated (bool), confidence, accuracy, and its interval from low to high.
    """
    figure, axes = base.panel()
    _draw_reliability(axes, table, model)
    return figure


def reliability(table: pd.DataFrame) -> Figure:
    """Draws the panels of `reliability_diagram` of both models side by side."""
    figure = Figure(figsize=(2 * base.PANEL[0], base.PANEL[1] + 0.6), layout="constrained")
    figure.suptitle("Reliability diagrams on the test split: on the diagonal, accuracy equals confidence")
    for axes, phase in zip(figure.subplots(1, 2), PHASES, strict=True):
        _draw_reliability(axes, table, phase.model)
        axes.set_title(phase.title)
    return figure


def _height(table: pd.DataFrame) -> float:
    """Returns the height in inches of a panel of curves, whose legend grows with the classes."""
    return 3.6 + 0.2 * min(table["class"].nunique(), base.LEGEND_CLASSES + 2)


def _draw_roc(axes: Axes, table: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=base.LIGHT["soft"], linewidth=0.8)
    _draw_curves(axes, table[["class", "fpr", "tpr"]], "AUC", "default")
    axes.set(xlabel="False positive rate", ylabel="True positive rate (recall)")


def _draw_precision_recall(axes: Axes, table: pd.DataFrame) -> None:
    _draw_curves(axes, table[["class", "recall", "precision"]], "AP", "steps-pre")
    axes.set(xlabel="Recall", ylabel="Precision")


def _draw_curves(axes: Axes, table: pd.DataFrame, measure: str, drawstyle: str) -> None:
    """Draws the curve of each class. The legend names the LEGEND_CLASSES smallest areas, called `measure` there."""
    names = table["class"].unique()
    curves = [part.iloc[:, 1:].to_numpy().T for _, part in table.groupby("class", sort=False)]
    areas = np.array([_area(x, y, drawstyle) for x, y in curves])
    for rank, label in enumerate(np.argsort(areas, kind="stable")):
        look: dict[str, Any] = {"color": base.LIGHT["soft"], "linewidth": 0.6}
        if rank < base.LEGEND_CLASSES:
            name = base.plain(names[label], 14 if len(names) > 5 else 30)
            look = {"linestyle": base.DASHES["test"], "linewidth": 1.8, "markersize": 5, "zorder": 3}
            look |= base.class_style(label) | {"label": f"{measure} {areas[label]:.1%}: {name}"}
            look["markevery"] = (0.03 * (rank % 5), 0.25)  # start and distance, as parts of the axes' diagonal
        elif rank == base.LEGEND_CLASSES:
            look["label"] = "the other classes"
        axes.plot(*curves[label], drawstyle=drawstyle, **look)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _format_as_percentages(axes)
    title = f"the {base.LEGEND_CLASSES} lowest of {len(names)} classes" if len(names) > base.LEGEND_CLASSES else None
    axes.legend(**base.BELOW, ncols=2 if len(names) > 5 else 1, handlelength=1.5, title=title)


def _area(x: np.ndarray, y: np.ndarray, drawstyle: str) -> float:
    """Returns the area below a curve as it is drawn: sklearn.metrics.auc; of steps, average_precision_score."""
    return np.sum(np.diff(x) * y[1:]) if drawstyle == "steps-pre" else np.trapezoid(y, x)


def _draw_reliability(axes: Axes, table: pd.DataFrame, model: str) -> None:
    """Draws points with error bars: hollow before temperature scaling, filled after it."""
    axes.plot([0, 1], [0, 1], color=base.LIGHT["soft"], linewidth=0.8)
    before = {"label": "before temperature scaling", "color": base.LIGHT["soft"], "marker": "s", "fillstyle": "none"}
    after = {"label": "after temperature scaling", "color": base.LIGHT[model], "marker": "o", "fillstyle": "full"}
    for calibrated, look in ((False, before | {"linestyle": ""}), (True, after | {"linestyle": base.DASHES["test"]})):
        bins = table[(table["model"] == model) & (table["calibrated"] == calibrated)]
        ends = [bins["accuracy"] - bins["low"], bins["high"] - bins["accuracy"]]
        axes.errorbar(bins["confidence"], bins["accuracy"], yerr=ends, elinewidth=1, capsize=3, **look)
    axes.set(ylabel="Accuracy", xlabel="Confidence (probability of the top-1 class)")
    axes.set(xlim=(table["confidence"].min() - 0.03, 1.02), ylim=(table["low"].min() - 0.03, 1.03))
    _format_as_percentages(axes)
    axes.legend(**base.BELOW, ncols=2)


def _format_as_percentages(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(base.percent)
    axes.yaxis.set_major_formatter(base.percent)
    axes.grid()
