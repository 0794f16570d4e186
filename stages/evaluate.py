"""Evaluates the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits, both SavedModels and data/training/*.json; writes data/models/classifier, the fine-tuned SavedModel
with evaluate.threshold, which may be chosen on the validation split, and the threshold of prediction sets, which always
is; metrics/*.json, by which experiments are compared;
all metrics to data/evaluation/{metrics,classes,intervals}.json; data/evaluation/reliability.csv, plots/roc/*.csv and
plots/precision_recall/*.csv; of the fine-tuned model data/evaluation/curves/*.csv, data/evaluation/slices.csv,
plots/predictions.csv, data/evaluation/probabilities.npy and data/evaluation/samples.npz, and its mistakes on all splits
to data/evaluation/mistakes.csv, for people to review; and data/features/test.npy, which the audit reads. The classifier
also gets the variables by which it tells images that are unlike the training images; how well it does is measured, of
unseen classes on the features that train_frozen wrote, and goes to data/evaluation/novelty.json.
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
from stages.common.arrays import Features, Labels, Pixels, Probabilities
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN
from stages.evaluation import (
    curves,
    examples,
    gradcam,
    model_evaluation,
    novelty,
    novelty_rates,
    prediction_sets,
    predictions,
    scores,
    slices,
)
from stages.evaluation.model_evaluation import Evaluation
from stages.model import saved_model
from stages.model.temperature import scale_probabilities
from stages.statistics import coverage, paired_test

# Metrics by which DVC compares experiments, if a model has them.
COMPARED = ("accuracy", "loss", "auc", "f1", "set_coverage", "set_size")

THRESHOLDS = {"threshold": 0.5, "set_threshold": 0.0}  # variables of the classifier, and their values if it has none


def main() -> None:
    p, splits = params.read("batch_size", "evaluate"), {name: dataset.load(name) for name in dataset.SPLITS}
    test, criterion = splits["test"], p.evaluate.threshold
    needed = ["test"]
    if isinstance(criterion, str):
        scores.check_criterion(criterion, test.classes)
        needed = ["validation", "test"]
    model = saved_model.load(FINETUNE.saved_model)
    evaluations, features = {}, {}
    for phase in PHASES:  # the fine-tuned one last: its weights then stay in the loaded model, and its outputs here
        temperature, outputs = saved_model.restore(model.weights, phase.saved_model), {}
        for name in splits if phase is FINETUNE else needed:
            progress = f"{phase.model} model, {name}"
            outputs[name] = predictions.predict(model, splits[name].pixels, p.batch_size, progress)
        probabilities, features[phase.model] = outputs["test"]
        threshold = choose_threshold(criterion, splits["validation"].labels, outputs, phase.model)
        predicted = scores.predict(probabilities, threshold)
        calibrated = scale_probabilities(probabilities, temperature)
        evaluation = model_evaluation.evaluate(test.manifest, test.classes, predicted, probabilities, calibrated)
        evaluation.scores["temperature"] = temperature
        if len(test.classes) == 2:
            evaluation.scores["threshold"] = threshold
        elif phase is FINETUNE:
            fitted, tested = ((splits[name].labels, outputs[name][0]) for name in ("validation", "test"))
            evaluation.scores.update(prediction_sets.evaluate(fitted, tested))
        evaluations[phase.model] = evaluation
    mistakes = predictions.wrong_predictions(splits, {name: x for name, (x, _) in outputs.items()}, threshold)
    known = {name: x for name, (_, x) in outputs.items()}
    a, b = (evaluations[phase.model].predicted == test.labels for phase in PHASES)
    comparison = test.manifest[["path", "group"]].assign(a=a, b=b)
    detector = novelty.fit(known["train"], known["validation"])
    extract = functools.partial(extract_features, model, p.batch_size)
    rates = novelty_rates.measure(detector, splits, known["test"], features[TRAIN_FROZEN.model], b, extract)
    params.check_unchanged(p)
    thresholds = {name: evaluation.scores.get(name, other) for name, other in THRESHOLDS.items()}
    variables = thresholds | detector.variables
    write(evaluations, comparison, test, features[TRAIN_FROZEN.model], mistakes, variables, rates, model)
    difference = paired_test.describe_difference(comparison, *(phase.title.lower() for phase in PHASES))
    sets = [coverage.describe(evaluation.scores)] if len(test.classes) > 2 else []
    terminal.show(model_evaluation.summary(evaluations), *sets, difference, rates["finding"])
    model_evaluation.require(evaluations[FINETUNE.model].scores, p.evaluate.min_metrics)


def choose_threshold(
    threshold: float | str, labels: Labels, outputs: Mapping[str, tuple[Probabilities, Features]], name: str
) -> float:
    """Returns evaluate.threshold, or the one that a criterion in its place selects on the validation split."""
    if not isinstance(threshold, str):
        return threshold
    return scores.choose_threshold(labels, outputs["validation"][0], threshold, name)


def extract_features(model: Any, batch_size: int, pixels: Pixels) -> Features:
    """Returns the features of images that are in no split, by the fine-tuned model."""
    return predictions.predict(model, pixels, batch_size, f"{FINETUNE.model} model, foreign images")[1]


def write(
    evaluations: Mapping[str, Evaluation],
    comparison: pd.DataFrame,
    split: dataset.Split,
    features: Features,
    mistakes: pd.DataFrame,
    variables: Mapping[str, Any],
    rates: Mapping[str, Any],
    model: Any,
) -> None:
    """Writes all outputs of the stage.

    `comparison` is the table of paired_test.count_flips, `features` are the frozen model's, `mistakes` the fine-tuned
    one's (predictions.wrong_predictions), `variables` those of the classifier that differ from it (saved_model.copy),
    `rates` those of novelty_rates, `model` is the SavedModel.
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
        saved_model.copy(FINETUNE.saved_model, out.classifier, variables)
        for folder in (out.folder, out.folder / "curves", out.roc, out.precision_recall):
            folder.mkdir()
        for phase in PHASES:
            compared = {metric: x for metric, x in evaluations[phase.model].scores.items() if metric in COMPARED}
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
        files.write_csv(mistakes, out.folder / "mistakes.csv", errors="backslashreplace")
        arrays.save(out.folder / "probabilities.npy", finetuned.probabilities)
        arrays.save(out.features, features.astype(np.float16))
        files.write_json(rates, out.folder / "novelty.json")
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


if __name__ == "__main__":
    cli.run(main)
