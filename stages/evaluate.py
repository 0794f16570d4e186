"""Evaluates the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits/test, both SavedModels, data/training/*.json, and data/splits/validation where evaluate.threshold is
to be chosen on it; writes data/models/classifier, the fine-tuned SavedModel with that threshold; metrics/*.json, by
which experiments are compared; all metrics to data/evaluation/{metrics,classes,intervals}.json;
data/evaluation/reliability.csv, plots/roc/*.csv and plots/precision_recall/*.csv; and of the fine-tuned model
data/evaluation/curves/*.csv, data/evaluation/slices.csv, plots/predictions.csv, data/evaluation/probabilities.npy and
data/evaluation/samples.npz.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.common import cli, dataset, files, params, terminal
from stages.common.cli import UserError
from stages.evaluation import examples, gradcam, metrics, model_evaluation, slices
from stages.evaluation.model_evaluation import Evaluation
from stages.evaluation.predictions import predict_probabilities, prediction_table
from stages.model import saved_model
from stages.statistics import paired_test

MODELS = {"frozen": "train_frozen", "finetuned": "finetune"}  # and the stage that trained each
COMPARED = ("accuracy", "loss", "auc", "f1")  # the metrics by which DVC compares experiments


def main() -> None:
    p = params.read("batch_size", "evaluate")
    split = dataset.load("test")
    if isinstance(p.evaluate.threshold, str) and len(split.classes) > 2:
        raise UserError(
            f"evaluate.threshold is {p.evaluate.threshold}, which is for two classes, but these are "
            f"{len(split.classes)}: set a number, which then plays no part."
        )
    model = saved_model.load("data/models/finetuned")
    evaluations = {}
    for name in MODELS:  # the fine-tuned one last: its weights then stay in the loaded model
        temperature = saved_model.restore(model.weights, f"data/models/{name}")
        threshold = choose_threshold(model, p.evaluate.threshold, p.batch_size, name)
        probabilities = predict_probabilities(model, split.pixels, p.batch_size, f"evaluating {name}")
        evaluations[name] = model_evaluation.evaluate(
            split.manifest, split.classes, probabilities, threshold, temperature
        )
    correct = {name: evaluation.predicted == split.labels for name, evaluation in evaluations.items()}
    comparison = split.manifest[["path", "group"]].assign(a=correct["frozen"], b=correct["finetuned"])
    write(evaluations, comparison, split, model)
    terminal.show(model_evaluation.summary(evaluations), paired_test.describe(comparison, "frozen", "fine-tuned"))
    require(evaluations["finetuned"].scores, p.evaluate.min_metrics)


def choose_threshold(model: Any, threshold: float | str, batch_size: int, name: str) -> float:
    """Returns evaluate.threshold, or the one that a criterion in its place picks on the validation split."""
    if not isinstance(threshold, str):
        return threshold
    split = dataset.load("validation")
    probabilities = predict_probabilities(model, split.pixels, batch_size, f"choosing the threshold of {name}")
    return metrics.choose_threshold(split.labels, probabilities, threshold, name)


def write(evaluations: dict[str, Evaluation], comparison: pd.DataFrame, split: dataset.Split, model: Any) -> None:
    """Writes all outputs of the stage.

    Args:
        evaluations: by the names of the models.
        comparison: the table of paired_test.count_flips.
        split: the test split.
        model: the fine-tuned SavedModel, loaded.
    """
    finetuned, frozen = evaluations["finetuned"], evaluations["frozen"]
    scores = {name: evaluation.scores for name, evaluation in evaluations.items()}
    with files.replacing(
        classifier="data/models/classifier",
        **{name: f"metrics/{name}.json" for name in MODELS},
        folder="data/evaluation",
        predictions="plots/predictions.csv",
        roc="plots/roc",
        precision_recall="plots/precision_recall",
    ) as out:
        saved_model.copy_with_threshold("data/models/finetuned", out.classifier, finetuned.scores.get("threshold", 0.5))
        for name, stage in MODELS.items():
            best_epoch = files.read_json(f"data/training/{stage}.json")["best_epoch"]
            compared = {metric: scores[name][metric] for metric in COMPARED}
            files.write_json(compared | {"best_epoch": best_epoch}, getattr(out, name))
        curves_folder = out.folder / "curves"
        for folder in (out.folder, curves_folder, out.roc, out.precision_recall):
            folder.mkdir()
        for name, evaluation in evaluations.items():
            precision_recall = metrics.precision_recall(split.labels, evaluation.probabilities)
            files.write_csv(precision_recall, out.precision_recall / f"{name}.csv")
            files.write_csv(metrics.roc(split.labels, evaluation.probabilities), out.roc / f"{name}.csv")
        for kind, curves in metrics.class_curves(split.labels, finetuned.probabilities, split.classes).items():
            files.write_csv(curves, curves_folder / f"{kind}.csv")
        bins = pd.concat({name: evaluation.bins for name, evaluation in evaluations.items()}, names=["model"])
        files.write_csv(bins.reset_index("model"), out.folder / "reliability.csv")
        predictions = prediction_table(split, finetuned.probabilities, finetuned.predicted, frozen.predicted)
        files.write_csv(predictions, out.predictions, errors="backslashreplace")
        with open(out.folder / "probabilities.npy", "wb") as file:
            np.save(file, finetuned.probabilities)
        measured = split.manifest.assign(**slices.measure(split.pixels))
        by_slice = slices.score(measured, finetuned.predicted == split.labels)
        files.write_csv(by_slice, out.folder / "slices.csv", errors="backslashreplace")

        def heat_maps(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
            return gradcam.heat_maps(model.feature_maps, model.weights[-2], pixels, labels)

        examples.save(out.folder / "samples.npz", heat_maps, split, predictions)
        files.write_json({**scores, "changed": paired_test.count_flips(comparison)}, out.folder / "metrics.json")
        files.write_json(
            {name: evaluation.class_scores for name, evaluation in evaluations.items()}, out.folder / "classes.json"
        )
        files.write_json(
            {name: evaluation.intervals for name, evaluation in evaluations.items()}, out.folder / "intervals.json"
        )


def require(scores: dict[str, float], min_metrics: Mapping[params.MetricName, float]) -> None:
    """Ends the stage if the fine-tuned model does not reach evaluate.min_metrics."""
    missed = [
        f"{metric} {scores[metric]:.4f} is below evaluate.min_metrics.{metric} {minimum:g}"
        for metric, minimum in min_metrics.items()
        if scores[metric] < minimum
    ]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")


if __name__ == "__main__":
    cli.run(main)
