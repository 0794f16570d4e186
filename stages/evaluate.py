"""Evaluates the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits/test, both SavedModels, data/training/*.json, and data/splits/validation where evaluate.threshold is
to be chosen on it; writes data/models/classifier, the fine-tuned SavedModel with that threshold; metrics/*.json, by
which experiments are compared; all metrics to data/evaluation/{metrics,classes,intervals}.json;
data/evaluation/reliability.csv, plots/roc/*.csv and plots/precision_recall/*.csv; and of the fine-tuned model
data/evaluation/curves/*.csv, data/evaluation/slices.csv, plots/predictions.csv, data/evaluation/probabilities.npy and
data/evaluation/samples.npz; and data/features/test.npy, which the audit reads.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.common import arrays, cli, dataset, files, params, terminal
from stages.common.arrays import Features
from stages.common.cli import UserError
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN
from stages.evaluation import curves, examples, gradcam, model_evaluation, predictions, scores, slices
from stages.evaluation.model_evaluation import Evaluation
from stages.model import saved_model
from stages.model.temperature import scale_probabilities
from stages.statistics import paired_test

COMPARED = ("accuracy", "loss", "auc", "f1")  # metrics by which DVC compares experiments


def main() -> None:
    p, split = params.read("batch_size", "evaluate"), dataset.load("test")
    model = saved_model.load(FINETUNE.saved_model)
    evaluations, features = {}, {}
    for phase in PHASES:  # the fine-tuned one last: its weights then stay in the loaded model
        temperature = saved_model.restore(model.weights, phase.saved_model)
        threshold = choose_threshold(model, p.evaluate.threshold, p.batch_size, phase.model)
        progress = f"evaluating {phase.model}"
        probabilities, features[phase.model] = predictions.predict(model, split.pixels, p.batch_size, progress)
        predicted = scores.predict(probabilities, threshold)
        calibrated = scale_probabilities(probabilities, temperature)
        evaluation = model_evaluation.evaluate(split.manifest, split.classes, predicted, probabilities, calibrated)
        evaluation.scores["temperature"] = temperature
        if len(split.classes) == 2:
            evaluation.scores["threshold"] = threshold
        evaluations[phase.model] = evaluation
    a, b = (evaluations[phase.model].predicted == split.labels for phase in PHASES)
    comparison = split.manifest[["path", "group"]].assign(a=a, b=b)
    params.check_unchanged(p)
    write(evaluations, comparison, split, features[TRAIN_FROZEN.model], model)
    difference = paired_test.describe_difference(comparison, *(phase.title.lower() for phase in PHASES))
    terminal.show(model_evaluation.summary(evaluations), difference)
    require(evaluations[FINETUNE.model].scores, p.evaluate.min_metrics)


def choose_threshold(model: Any, threshold: float | str, batch_size: int, name: str) -> float:
    """Returns evaluate.threshold, or the one that a criterion in its place selects on the validation split."""
    if not isinstance(threshold, str):
        return threshold
    split, progress = dataset.load("validation"), f"choosing the threshold of {name}"
    if len(split.classes) > 2:
        raise UserError(
            f"evaluate.threshold is {threshold}, which is for two classes, but these are {len(split.classes)}: set a "
            "number, which then has no effect."
        )
    probabilities, _ = predictions.predict(model, split.pixels, batch_size, progress)
    return scores.choose_threshold(split.labels, probabilities, threshold, name)


def write(
    evaluations: Mapping[str, Evaluation],
    comparison: pd.DataFrame,
    split: dataset.Split,
    features: Features,
    model: Any,
) -> None:
    """Writes all outputs of the stage.

    `comparison` is the table of paired_test.count_flips, `features` are the frozen model's, `model` is the SavedModel.
    """
    frozen, finetuned = (evaluations[phase.model] for phase in PHASES)
    with files.replacing(
        classifier="data/models/classifier",
        **{name: f"metrics/{name}.json" for name in evaluations},
        folder="data/evaluation",
        features="data/features/test.npy",
        predictions="plots/predictions.csv",
        roc="plots/roc",
        precision_recall="plots/precision_recall",
    ) as out:
        threshold = finetuned.scores.get("threshold", 0.5)
        saved_model.copy(FINETUNE.saved_model, out.classifier, {"threshold": threshold})
        for folder in (out.folder, out.folder / "curves", out.roc, out.precision_recall):
            folder.mkdir()
        for phase in PHASES:
            compared = {metric: evaluations[phase.model].scores[metric] for metric in COMPARED}
            with files.checked(phase.metrics):
                kept_epoch = files.read_json(phase.metrics)["kept_epoch"]
            files.write_json(compared | {"kept_epoch": kept_epoch}, getattr(out, phase.model))
        for kind, curve in {"roc": curves.roc, "precision_recall": curves.precision_recall}.items():
            for name, x in evaluations.items():
                pooled = curve(*curves.decisions(split.labels, x.probabilities))
                files.write_csv(pooled, getattr(out, kind) / f"{name}.csv")
            of_classes = curves.by_class(curve, split.labels, finetuned.probabilities, split.classes)
            files.write_csv(of_classes, out.folder / f"curves/{kind}.csv")
        bins = pd.concat({name: x.bins for name, x in evaluations.items()}, names=["model"]).reset_index("model")
        files.write_csv(bins, out.folder / "reliability.csv")
        table = predictions.prediction_table(
            split.manifest, split.classes, finetuned.probabilities, finetuned.predicted, frozen.predicted
        )
        files.write_csv(table, out.predictions, errors="backslashreplace")
        arrays.save(out.folder / "probabilities.npy", finetuned.probabilities)
        arrays.save(out.features, features.astype(np.float16))
        by_slice = slices.score(split.manifest.assign(**slices.measure(split.pixels)), comparison["b"].to_numpy())
        files.write_csv(by_slice, out.folder / "slices.csv", errors="backslashreplace")
        heat_maps = functools.partial(
            gradcam.heat_maps, lambda pixels: model.predict(pixels)["feature_maps"], model.weights[-2]
        )
        examples.save(out.folder / "samples.npz", heat_maps, split, table)
        all_scores = {name: x.scores for name, x in evaluations.items()}
        files.write_json(all_scores | {"changed": paired_test.count_flips(comparison)}, out.folder / "metrics.json")
        files.write_json({name: x.class_scores for name, x in evaluations.items()}, out.folder / "classes.json")
        files.write_json({name: x.intervals for name, x in evaluations.items()}, out.folder / "intervals.json")


def require(metrics: Mapping[str, float], min_metrics: Mapping[params.MetricName, float]) -> None:
    """Ends the stage if the fine-tuned model does not reach evaluate.min_metrics."""
    below = [metric for metric, minimum in min_metrics.items() if metrics[metric] < minimum]
    missed = [f"{x} {metrics[x]:.4f} is below evaluate.min_metrics.{x} {min_metrics[x]:g}" for x in below]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")


if __name__ == "__main__":
    cli.run(main)
