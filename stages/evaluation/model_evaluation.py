"""Evaluation of one model: all metrics of its predictions on a split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from stages.common import terminal
from stages.evaluation import metrics, score_intervals
from stages.model.temperature import scale_probabilities


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one model.

    Attributes:
        probabilities: float32 [N, C].
        predicted: int [N], labels.
        scores, class_scores: what metrics.score and metrics.score_classes return.
        intervals: what score_intervals.confidence_intervals returns.
        bins: metrics.reliability_bins before and after temperature scaling, with a column calibrated, bool.
    """

    probabilities: np.ndarray
    predicted: np.ndarray
    scores: dict[str, float]
    class_scores: dict[str, dict[str, Any]]
    intervals: dict[str, Any]
    bins: pd.DataFrame


def evaluate(
    images: pd.DataFrame,
    classes: list[str],
    probabilities: np.ndarray,
    threshold: float | np.ndarray,
    temperature: float | np.ndarray,
) -> Evaluation:
    """Computes all metrics of a model's predictions, or of those of several models.

    Args:
        images: N rows with label and group.
        classes: C class names.
        probabilities: float [N, C], of the model.
        threshold: as in metrics.predicted_labels.
        temperature: of the model, for its calibrated probabilities; of several models float [N, 1].
    """
    labels = images["label"].to_numpy()
    scores = metrics.score(labels, probabilities, threshold)
    class_scores = metrics.score_classes(labels, probabilities, threshold, classes)
    intervals = score_intervals.confidence_intervals(
        labels, probabilities, threshold, images["group"].to_numpy(), scores, class_scores
    )
    calibrated = scale_probabilities(probabilities, temperature)
    bins = {
        False: metrics.reliability_bins(labels, probabilities),
        True: metrics.reliability_bins(labels, calibrated),
    }
    scores |= {
        "ece": metrics.expected_calibration_error(labels, probabilities),
        "calibrated_loss": float(metrics.cross_entropy(labels, calibrated).mean()),
        "calibrated_ece": metrics.expected_calibration_error(labels, calibrated),
    }
    if not isinstance(temperature, np.ndarray):
        scores["temperature"] = temperature
    if len(classes) == 2 and not isinstance(threshold, np.ndarray):
        scores["threshold"] = threshold
    return Evaluation(
        probabilities=probabilities,
        predicted=metrics.predicted_labels(probabilities, threshold),
        scores=scores,
        class_scores=class_scores,
        intervals=intervals,
        bins=pd.concat(bins, names=["calibrated"]).reset_index("calibrated"),
    )


def summary(evaluations: dict[str, Evaluation]) -> Table:
    """Returns the metrics of all models as a table, with their 95% intervals where they have one."""
    table = pd.DataFrame({name: evaluation.scores for name, evaluation in evaluations.items()}).map("{:.4f}".format)
    for name, evaluation in evaluations.items():
        for metric in table.index.intersection(evaluation.intervals):
            table.loc[metric, name] += " [{:.4f}, {:.4f}]".format(*evaluation.intervals[metric])
    table = table.rename(columns={"finetuned": "fine-tuned"})
    return terminal.table(table.reset_index(names="metric, with its 95% interval"))
