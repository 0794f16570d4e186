"""Charts of how good predictions are, as matplotlib figures."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from stages.charts.base import TRAINING, VALIDATION, plain

NAMED = 10  # classes that the legend of the curves names
NUMBERED = 20  # classes up to which the confusion matrix has numbers in its cells
MODELS = {"frozen": "Frozen base", "finetuned": "Fine-tuned"}


def confusion(actual, predicted, classes):
    """Draws the confusion matrix twice: number of images, and share of each true class.

    Args:
        actual, predicted: N class names.
        classes: C class names.
    """
    counts = pd.crosstab(*(pd.Categorical(names, classes) for names in (actual, predicted)), dropna=False).to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = 0.55 if len(classes) <= NUMBERED else max(0.11, 11 / len(classes))  # inches
    side = max(3.5, cell * len(classes))
    figure = Figure(figsize=(2 * side + 4, side + 2), layout="constrained")
    large = max(12, side)  # points
    figure.suptitle("Confusion matrix of the fine-tuned model on the test split", fontsize=large)
    for axes, values, title, form in zip(
        figure.subplots(1, 2), (counts, shares), ("Images", "Share of the true class"), ("{:d}", "{:.0%}")
    ):
        most = max(values.max(), 1)
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=most)
        figure.colorbar(image, ax=axes, shrink=0.7, format=PercentFormatter(1) if values is shares else None)
        axes.set_title(title, fontsize=large)
        axes.set_xlabel("Predicted", fontsize=large)
        axes.set_ylabel("Actual", fontsize=large)
        names = [plain(name, 26) for name in classes]
        size = min(9, 0.6 * 72 * side / len(classes))
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(classes)), names, fontsize=size)
        if len(classes) <= NUMBERED:
            for (row, column), value in np.ndenumerate(values):
                axes.text(
                    column,
                    row,
                    form.format(value),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if value > most / 2 else "black",
                )
    return figure


def curves(roc, precision_recall):
    """Draws the ROC and the precision-recall curve of each class against the rest; of many, it names the NAMED worst.

    Args:
        roc: DataFrame with class, fpr and tpr.
        precision_recall: DataFrame with class, recall and precision, in the order of scikit-learn: recall falls.
    """
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    figure.suptitle("Each class against the rest, fine-tuned model on the test split")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    _draw(left, roc, "fpr", "tpr", "AUC", _area, "default")
    _draw(right, precision_recall, "recall", "precision", "AP", _average_precision, "steps-post")
    left.set(title="ROC", xlabel="False positive rate", ylabel="True positive rate (recall)")
    right.set(title="Precision and recall", xlabel="Recall", ylabel="Precision")
    return figure


def _area(x, y):
    """As sklearn.metrics.auc has it."""
    return float(np.trapezoid(y, x))


def _average_precision(recall, precision):
    """As sklearn.metrics.average_precision_score has it, without interpolation: the area below the steps that are drawn."""
    return float(-np.sum(np.diff(recall) * precision[:-1]))


def _draw(axes, table, x, y, measure, area, drawstyle):
    """Draws the curve of each class in a table, the one with the smallest area first."""
    curves = {name: (part[x].to_numpy(), part[y].to_numpy()) for name, part in table.groupby("class")}
    areas = {name: area(*points) for name, points in curves.items()}
    for rank, name in enumerate(sorted(curves, key=areas.get)):
        style = {"color": "silver", "linewidth": 0.8, "label": "the other classes" if rank == NAMED else None}
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


def reliability(table):
    """Draws how often predictions of a given confidence are right, before and after temperature scaling, and their number.

    Args:
        table: a row per bin with model, calibrated, from, to, confidence, accuracy and support.
    """
    models = list(table.groupby("model", sort=False))
    figure = Figure(figsize=(6 * len(models), 7), layout="constrained")
    figure.suptitle("Calibration on the test split: on the diagonal, confidence is how often the model is right")
    upper, lower = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
    for (model, part), axes, bars in zip(models, upper, lower):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for calibrated, style, colour in ((False, "o-", VALIDATION), (True, "s--", TRAINING)):
            bins = part[part["calibrated"] == calibrated]
            error = np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["support"])
            axes.plot(
                bins["confidence"],
                bins["accuracy"],
                style,
                color=colour,
                label=f"{'after' if calibrated else 'before'} temperature scaling: ECE {error:.3f}",
            )
            half = (bins["to"] - bins["from"]) * 0.45
            left = (bins["from"] + bins["to"]) / 2 - (0 if calibrated else half)
            bars.bar(left, bins["support"], half, align="edge", color=colour)
        axes.set(title=MODELS[model], ylabel="Accuracy", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=9)
        bars.set(xlabel="Confidence (probability of the predicted class)", ylabel="Images", xlim=(-0.02, 1.02))
        bars.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        bars.grid(alpha=0.3)
    return figure
