"""Charts of metrics on the test split, as matplotlib figures. Without scikit-learn, which takes a second to import."""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from stages.charts.base import TRAINING, VALIDATION, plain

NAMED = 10  # classes that the legend of the curves names
NUMBERED = 20  # classes up to which the confusion matrix has numbers in its cells
MODELS = {"frozen": "Frozen", "finetuned": "Fine-tuned"}


def confusion(actual: pd.Series, predicted: pd.Series, classes: list[str]) -> Figure:
    """Draws the confusion matrix twice: numbers of images, and normalized by true class.

    Args:
        actual, predicted: N class names.
        classes: C class names.
    """
    counts = pd.crosstab(*(pd.Categorical(names, classes) for names in (actual, predicted)), dropna=False).to_numpy()
    normalized = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = 0.55 if len(classes) <= NUMBERED else max(0.11, 11 / len(classes))  # inches
    side = max(3.5, cell * len(classes))
    large = max(12, side)  # points
    figure = Figure(figsize=(2 * side + 4, side + 2), layout="constrained")
    figure.suptitle("Confusion matrix of the fine-tuned model on the test split", fontsize=large)
    left, right = figure.subplots(1, 2)
    for axes, values, title, form in (
        (left, counts, "Number of images", "{:d}"),
        (right, normalized, "Normalized by true class", "{:.0%}"),
    ):
        most = max(values.max(), 1)
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=most)
        figure.colorbar(image, ax=axes, shrink=0.7, format=PercentFormatter(1) if values is normalized else None)
        axes.set_title(title, fontsize=large)
        axes.set_xlabel("Predicted", fontsize=large)
        axes.set_ylabel("Actual", fontsize=large)
        names = [plain(name, 26) for name in classes]
        size = min(9, 0.6 * 72 * side / len(classes))
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(classes)), names, fontsize=size)
        if len(classes) <= NUMBERED:
            for (row, column), value in np.ndenumerate(values):
                colour = "white" if value > most / 2 else "black"
                axes.text(column, row, form.format(value), ha="center", va="center", fontsize=9, color=colour)
    return figure


def curves(roc: pd.DataFrame, precision_recall: pd.DataFrame) -> Figure:
    """Draws the one-versus-rest ROC and precision-recall curves of each class; the legend names the NAMED worst.

    Args:
        roc: DataFrame with class, fpr and tpr.
        precision_recall: DataFrame with class, recall and precision, in the order of scikit-learn: recall falls.
    """
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    figure.suptitle("One-versus-rest curves of the fine-tuned model on the test split")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    _draw_curves(left, _points(roc, "fpr", "tpr"), _area, "AUC", "default")
    _draw_curves(right, _points(precision_recall, "recall", "precision"), _average_precision, "AP", "steps-post")
    left.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate (recall)")
    right.set(title="Precision-recall", xlabel="Recall", ylabel="Precision")
    return figure


def _points(table: pd.DataFrame, x: str, y: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns two columns by class."""
    return {name: (part[x].to_numpy(), part[y].to_numpy()) for name, part in table.groupby("class")}


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """As sklearn.metrics.auc has it."""
    return float(np.trapezoid(y, x))


def _average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """As sklearn.metrics.average_precision_score has it, without interpolation: the area below the steps."""
    return float(-np.sum(np.diff(recall) * precision[:-1]))


def _draw_curves(
    axes: Axes,
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
    area: Callable[[np.ndarray, np.ndarray], float],
    measure: str,
    drawstyle: str,
) -> None:
    """Draws the curve of each class, the one with the smallest area first."""
    areas = {name: area(x, y) for name, (x, y) in curves.items()}
    for rank, name in enumerate(sorted(curves, key=lambda name: areas[name])):
        style: dict[str, Any] = {
            "color": "silver",
            "linewidth": 0.8,
            "label": "the other classes" if rank == NAMED else None,
        }
        if rank < NAMED:
            style = {
                "color": matplotlib.color_sequences["petroff10"][rank],
                "linestyle": ("-", "--", "-.", ":")[rank % 4],
                "linewidth": 1.8,
                "zorder": 3,
                "label": f"{measure} {areas[name]:.3f}: {plain(name, 26)}",
            }
        axes.plot(*curves[name], drawstyle=drawstyle, **style)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=2,
        fontsize=9,
        title=f"the {NAMED} lowest of {len(curves)} classes" if len(curves) > NAMED else None,
    )


def reliability(table: pd.DataFrame) -> Figure:
    """Draws reliability diagrams: accuracy by confidence, before and after temperature scaling, and the sizes of bins.

    Args:
        table: a row per bin with model, calibrated, from, to, confidence, accuracy and support.
    """
    models = list(table.groupby("model", sort=False))
    figure = Figure(figsize=(6 * len(models), 7), layout="constrained")
    figure.suptitle("Reliability diagrams on the test split: on the diagonal, accuracy equals confidence")
    rows = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
    for (model, part), axes, bars in zip(models, *rows, strict=True):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for calibrated, style, colour in ((False, "o-", VALIDATION), (True, "s--", TRAINING)):
            bins = part[part["calibrated"] == calibrated]
            error = np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["support"])
            label = f"{'after' if calibrated else 'before'} temperature scaling: ECE {error:.3f}"
            axes.plot(bins["confidence"], bins["accuracy"], style, color=colour, label=label)
            half = (bins["to"] - bins["from"]) * 0.45
            left = (bins["from"] + bins["to"]) / 2 - (0 if calibrated else half)
            bars.bar(left, bins["support"], half, align="edge", color=colour)
        axes.set(title=MODELS[model], ylabel="Accuracy", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=9)
        bars.set(xlabel="Confidence (probability of the top-1 class)", ylabel="Images", xlim=(-0.02, 1.02))
        bars.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        bars.grid(alpha=0.3)
    return figure
