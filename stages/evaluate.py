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
unseen classes on the features that train_frozen wrote, and goes to data/evaluation/novelty.json. With the validation
images of data/evaluation/reference.npz, predict compares others.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.common import arrays, cli, dataset, files, params, terminal
from stages.common.arrays import Features, Labels, Pixels, Probabilities
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN
from stages.evaluation import (
    drift,
    examples,
    gradcam,
    model_evaluation,
    novelty,
    novelty_rates,
    prediction_sets,
    predictions,
    result_files,
    scores,
)
from stages.evaluation.result_files import Results
from stages.model import saved_model
from stages.model.temperature import scale_probabilities
from stages.statistics import coverage, paired_test

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
    comparison = result_files.compare_phases(evaluations, test)
    detector = novelty.fit(known["train"], known["validation"])
    extract = functools.partial(extract_features, model, p.batch_size)
    rates = novelty_rates.measure(
        detector, splits, known["test"], features[TRAIN_FROZEN.model], comparison["b"].to_numpy(), extract
    )
    params.check_unchanged(p)
    reference = drift.reference(splits["validation"], known["validation"], detector.novelty(known["validation"]))
    thresholds = {name: evaluation.scores.get(name, other) for name, other in THRESHOLDS.items()}
    results = Results(test, evaluations, features[TRAIN_FROZEN.model], mistakes, rates, reference)
    write(results, thresholds | detector.variables, model)
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


def write(results: Results, variables: Mapping[str, Any], model: Any) -> None:
    """Writes all outputs of the stage; `variables` are those of the classifier that differ from the fine-tuned model
    (saved_model.copy), `model` is this one, loaded.
    """

    def feature_maps(pixels: Pixels) -> Any:
        return model.predict(pixels)["feature_maps"]

    with files.replacing(
        classifier="data/models/classifier",
        **{name: f"metrics/{name}.json" for name in results.evaluations},
        folder="data/evaluation",
        features="data/features/test.npy",
        predictions="plots/predictions.csv",
        roc="plots/roc",
        precision_recall="plots/precision_recall",
    ) as out:
        saved_model.copy(FINETUNE.saved_model, out.classifier, variables)
        for phase in PHASES:
            compared = result_files.compared_metrics(results.evaluations[phase.model].scores, phase)
            files.write_json(compared, getattr(out, phase.model))
        out.folder.mkdir()
        result_files.write_tables(results, out.folder)
        result_files.write_curves(results, out.roc, out.precision_recall, out.folder / "curves")
        files.write_csv(results.predictions, out.predictions, errors="backslashreplace")
        arrays.save(out.features, results.features.astype(np.float16))
        heat_maps = functools.partial(gradcam.heat_maps, feature_maps, model.weights[-2])
        examples.save(out.folder / "samples.npz", heat_maps, results.test, results.predictions)


if __name__ == "__main__":
    cli.run(main)
