"""The files of results that evaluate writes: metrics, tables, curves and arrays, for other stages and for people."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common import arrays, files
from stages.common.arrays import Features
from stages.common.dataset import Split
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN, Phase
from stages.evaluation import curves, drift, predictions, slices
from stages.evaluation.model_evaluation import Evaluation
from stages.statistics import paired_test

# Metrics by which DVC compares experiments, if a model has them.
COMPARED = ("accuracy", "loss", "auc", "f1", "set_coverage", "set_size")


@dataclass(frozen=True)
class Results:
    """What evaluate has found.

    Attributes:
        test: the test split.
        evaluations: of both models on it, by name.
        features: of the frozen model on it.
        mistakes: of the fine-tuned model on all splits (predictions.wrong_predictions).
        rates: of novelty detection (novelty_rates.measure).
        reference: the validation images that others are compared with (drift.reference).
    """

    test: Split
    evaluations: Mapping[str, Evaluation]
    features: Features
    mistakes: pd.DataFrame
    rates: Mapping[str, Any]
    reference: drift.Sample

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """The table of predictions.prediction_table."""
        frozen, finetuned = (self.evaluations[phase.model] for phase in (TRAIN_FROZEN, FINETUNE))
        return predictions.prediction_table(
            self.test.manifest, self.test.classes, finetuned.probabilities, finetuned.predicted, frozen.predicted
        )


def compare_phases(evaluations: Mapping[str, Evaluation], test: Split) -> pd.DataFrame:
    """Returns the table of paired_test.count_flips: whether each phase is right on each test image."""
    a, b = (evaluations[phase.model].predicted == test.labels for phase in PHASES)
    return test.manifest[["path", "group"]].assign(a=a, b=b)


def compared_metrics(scores: Mapping[str, float], phase: Phase) -> dict[str, Any]:
    """Returns the metrics by which DVC compares experiments, of the model of a phase."""
    with files.checked(phase.metrics):
        kept_epoch = files.read_json(phase.metrics)["kept_epoch"]
    return {metric: x for metric, x in scores.items() if metric in COMPARED} | {"kept_epoch": kept_epoch}


def write_curves(results: Results, roc: Path, precision_recall: Path, by_class: Path) -> None:
    """Writes the curves of each model into a folder of each kind, and those of each class of the fine-tuned one."""
    finetuned = results.evaluations[FINETUNE.model].probabilities
    by_class.mkdir()
    for folder, curve in {roc: curves.roc, precision_recall: curves.precision_recall}.items():
        folder.mkdir()
        for name, evaluation in results.evaluations.items():
            pooled = curve(*curves.decisions(results.test.labels, evaluation.probabilities))
            files.write_csv(pooled, folder / f"{name}.csv")
        of_classes = curves.by_class(curve, results.test.labels, finetuned, results.test.classes)
        files.write_csv(of_classes, by_class / f"{curve.__name__}.csv")


def write_tables(results: Results, folder: Path) -> None:
    """Writes all metrics, and the tables and arrays of data/evaluation, into a folder."""
    evaluations, test = results.evaluations, results.test
    flips = compare_phases(evaluations, test)
    scores = {name: x.scores for name, x in evaluations.items()} | {"changed": paired_test.count_flips(flips)}
    files.write_json(scores, folder / "metrics.json")
    files.write_json({name: x.class_scores for name, x in evaluations.items()}, folder / "classes.json")
    files.write_json({name: x.intervals for name, x in evaluations.items()}, folder / "intervals.json")
    files.write_json(results.rates, folder / "novelty.json")
    bins = pd.concat({name: x.bins for name, x in evaluations.items()}, names=["model"]).reset_index("model")
    files.write_csv(bins, folder / "reliability.csv")
    by_slice = slices.score(test.manifest.assign(**slices.measure(test.pixels)), flips["b"].to_numpy())
    files.write_csv(by_slice, folder / "slices.csv", errors="backslashreplace")
    files.write_csv(results.mistakes, folder / "mistakes.csv", errors="backslashreplace")
    arrays.save(folder / "probabilities.npy", evaluations[FINETUNE.model].probabilities)
    drift.save(folder / "reference.npz", results.reference)
