"""Evaluation of one model: all metrics of its predictions on a split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.table import Table

from stages.common import params, terminal
from stages.common.arrays import Labels, Probabilities
from stages.common.cli import UserError
from stages.common.phases import PHASES
from stages.evaluation import calibration, score_intervals, scores


@dataclass(frozen=True)
class Evaluation:
    """The predictions of one model, and their metrics.

    Attributes:
        scores, class_scores: what scores.score returns; scores also has the metrics after calibration, and the stage
            evaluate adds the model's temperature and threshold.
        intervals: what score_intervals.confidence_intervals returns.
        bins: calibration.reliability_bins before and after temperature scaling, with a column calibrated, bool.
    """

    probabilities: Probabilities
    predicted: Labels
    scores: dict[str, float]
    class_scores: dict[str, dict[str, Any]]
    intervals: dict[str, Any]
    bins: pd.DataFrame


def evaluate(
    images: pd.DataFrame, classes: list[str], predicted: Labels, probabilities: Probabilities, calibrated: Probabilities
) -> Evaluation:
    """Computes all metrics of predictions, before and after calibration. The images have label and group."""
    labels, groups = images["label"].to_numpy(), images["group"].to_numpy()
    overall, by_class = scores.score(labels, predicted, probabilities, classes)
    intervals = score_intervals.confidence_intervals(labels, predicted, probabilities, groups, overall, by_class)
    all_scores = overall | {
        "ece": calibration.expected_calibration_error(labels, probabilities),
        "calibrated_loss": float(scores.cross_entropy(labels, calibrated).mean()),
        "calibrated_ece": calibration.expected_calibration_error(labels, calibrated),
    }
    bins = [calibration.reliability_bins(labels, x) for x in (probabilities, calibrated)]
    table = pd.concat(bins, keys=[False, True], names=["calibrated"]).reset_index("calibrated")
    return Evaluation(probabilities, predicted, all_scores, by_class, intervals, table)


def summary(evaluations: Mapping[str, Evaluation]) -> Table:
    """Returns the metrics of all models as a table, with their 95% intervals where they have one."""
    table = pd.DataFrame()
    for name, evaluation in evaluations.items():
        bounds = evaluation.intervals
        table[name] = pd.Series({x: with_interval(value, bounds.get(x)) for x, value in evaluation.scores.items()})
    table = table.rename(columns={phase.model: phase.title.lower() for phase in PHASES})
    return terminal.table(table.reset_index(names="metric, with its 95% interval"))


def with_interval(value: float | None, bounds: list[float] | None) -> str:
    """Returns a metric with its interval, if it has one: "0.9000 [0.8000, 0.9500]"; without a metric, ""."""
    if value is None:
        return ""
    return f"{value:.4f}" + (" [{:.4f}, {:.4f}]".format(*bounds) if bounds else "")


def require(metrics: Mapping[str, float], min_metrics: Mapping[params.MetricName, float]) -> None:
    """Raises a UserError if the fine-tuned model does not reach evaluate.min_metrics."""
    below = [metric for metric, minimum in min_metrics.items() if metrics[metric] < minimum]
    missed = [f"{x} {metrics[x]:.4f} is below evaluate.min_metrics.{x} {min_metrics[x]:g}" for x in below]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")
