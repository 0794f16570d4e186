"""Evaluates the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits/test, both SavedModels, and data/splits/validation where evaluate.threshold is to be chosen on it; writes
metrics/evaluate.json, metrics/classes.json, data/evaluation/intervals.json, data/evaluation/reliability.csv, plots/roc/*.csv
and plots/precision_recall/*.csv; and of the fine-tuned model data/evaluation/curves/*.csv, plots/predictions.csv and
data/evaluation/samples.npz.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import cli, dataset, files, params
from stages.common.cli import UserError
from stages.evaluation import bootstrap, examples, metrics, paired_test
from stages.model import saved_model
from stages.model.temperature import scale_probabilities

MODELS = ("frozen", "finetuned")


@dataclass(frozen=True)
class Evaluation:
    """What is measured of one model.

    Attributes:
        probabilities: float32 [N, C]; predicted: int [N], labels.
        scores, class_scores, intervals: of metrics.score, metrics.score_classes and bootstrap.confidence_intervals.
        bins: metrics.reliability_bins, with a column that tells those after temperature scaling from those before.
    """

    probabilities: np.ndarray
    predicted: np.ndarray
    scores: dict[str, Any]
    class_scores: dict[str, Any]
    intervals: dict[str, Any]
    bins: pd.DataFrame


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
    for name in MODELS:  # the fine-tuned one last: the loaded model then is that one
        temperature = saved_model.restore(model.weights, f"data/models/{name}")
        threshold = choose_threshold(model, p.evaluate.threshold, p.batch_size, name)
        probabilities = predict_probabilities(model, split.pixels, p.batch_size, f"evaluating {name}")
        evaluations[name] = evaluate(split, probabilities, threshold, temperature)
    frozen, finetuned = evaluations.values()
    correct = pd.DataFrame(
        {
            "path": split.manifest["path"],
            "group": split.manifest["group"],
            "a": frozen.predicted == split.labels,
            "b": finetuned.predicted == split.labels,
        }
    )
    write(evaluations, correct, split, model)
    print(summary(evaluations), paired_test.describe(correct, "frozen", "fine-tuned"), sep="\n")
    missed = [
        f"{metric} {finetuned.scores[metric]:.4f} is below evaluate.min_metrics.{metric} {minimum:g}"
        for metric, minimum in p.evaluate.min_metrics.items()
        if finetuned.scores[metric] < minimum
    ]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")


def choose_threshold(model: Any, threshold: float | str, batch_size: int, name: str) -> float:
    """Returns evaluate.threshold, or the one that a criterion in its place picks on the validation split."""
    if not isinstance(threshold, str):
        return threshold
    split = dataset.load("validation")
    probabilities = predict_probabilities(model, split.pixels, batch_size, f"choosing the threshold of {name}")
    return metrics.choose_threshold(split.labels, probabilities, threshold, name)


def predict_probabilities(model: Any, pixels: dataset.Pixels, batch_size: int, purpose: str) -> np.ndarray:
    """Returns the probabilities, float32 [N, C], that a loaded SavedModel gives to uint8 [N, size, size, 3]."""
    starts = tqdm(range(0, len(pixels), batch_size), purpose, unit="batch", disable=None)
    serve = model.signatures["serving_uint8"]
    return np.concatenate([serve(images=pixels[i : i + batch_size])["probabilities"] for i in starts])


def evaluate(split: dataset.Split, probabilities: np.ndarray, threshold: float, temperature: float) -> Evaluation:
    """Measures predictions of a split."""
    labels = split.labels
    scores = metrics.score(labels, probabilities, threshold)
    class_scores = metrics.score_classes(labels, probabilities, threshold, split.classes)
    intervals = bootstrap.confidence_intervals(
        labels, probabilities, threshold, split.manifest["group"], scores, class_scores
    )
    calibrated = scale_probabilities(probabilities, temperature)
    bins = {False: metrics.reliability_bins(labels, probabilities), True: metrics.reliability_bins(labels, calibrated)}
    scores |= {
        "ece": metrics.expected_calibration_error(bins[False]),
        "calibrated_loss": float(metrics.cross_entropy(labels, calibrated).mean()),
        "calibrated_ece": metrics.expected_calibration_error(bins[True]),
        "temperature": temperature,
        **({"threshold": threshold} if len(split.classes) == 2 else {}),
    }
    predicted = metrics.predicted_labels(probabilities, threshold)
    both = pd.concat(bins, names=["calibrated"]).reset_index("calibrated")
    return Evaluation(probabilities, predicted, scores, class_scores, intervals, both)


def write(evaluations: dict[str, Evaluation], correct: pd.DataFrame, split: dataset.Split, model: Any) -> None:
    """Writes all outputs of the stage.

    Args:
        evaluations: by the names of the models.
        correct: as in paired_test.count_flips.
        split: the test split.
        model: the fine-tuned SavedModel, loaded.
    """
    finetuned = evaluations["finetuned"]
    with files.replacing(
        metrics="metrics/evaluate.json",
        classes="metrics/classes.json",
        intervals="data/evaluation/intervals.json",
        reliability="data/evaluation/reliability.csv",
        curves="data/evaluation/curves",
        samples="data/evaluation/samples.npz",
        predictions="plots/predictions.csv",
        roc="plots/roc",
        precision_recall="plots/precision_recall",
    ) as out:
        for folder in (out.curves, out.roc, out.precision_recall):
            folder.mkdir()
        for name, evaluation in evaluations.items():
            files.write_csv(metrics.roc(split.labels, evaluation.probabilities), out.roc / f"{name}.csv")
            files.write_csv(
                metrics.precision_recall(split.labels, evaluation.probabilities), out.precision_recall / f"{name}.csv"
            )
        for name, curve in metrics.class_curves(split.labels, finetuned.probabilities, split.classes).items():
            files.write_csv(curve, out.curves / f"{name}.csv")
        bins = pd.concat({name: evaluation.bins for name, evaluation in evaluations.items()}, names=["model"])
        files.write_csv(bins.reset_index("model"), out.reliability)
        predictions = prediction_table(split, finetuned, evaluations["frozen"].predicted)
        files.write_csv(predictions, out.predictions, errors="backslashreplace")
        examples.save(out.samples, model, split, predictions)
        scores = {name: evaluation.scores for name, evaluation in evaluations.items()}
        files.write_json({**scores, "changed": paired_test.count_flips(correct)}, out.metrics)
        files.write_json({name: evaluation.class_scores for name, evaluation in evaluations.items()}, out.classes)
        files.write_json({name: evaluation.intervals for name, evaluation in evaluations.items()}, out.intervals)


def prediction_table(split: dataset.Split, finetuned: Evaluation, frozen: np.ndarray) -> pd.DataFrame:
    """Returns a row per image, for people to read and for the plot stage.

    Args:
        split: dataset.Split.
        finetuned: evaluation of the fine-tuned model.
        frozen: int [N], labels that the frozen model predicts.

    Returns:
        DataFrame: path, group (dataset.Split), actual and predicted class, the latter's probability, margin (how far the
        top-1 class is above the next) and frozen, the class that the frozen model predicts.
    """
    names = np.array(split.classes)
    second, first = np.partition(finetuned.probabilities, -2, axis=1)[:, -2:].T
    return pd.DataFrame(
        {
            "path": split.manifest["path"],
            "group": split.manifest["group"],
            "actual": split.manifest["class"],
            "predicted": names[finetuned.predicted],
            "probability": finetuned.probabilities[np.arange(len(split.labels)), finetuned.predicted],
            "margin": first - second,
            "frozen": names[frozen],
        }
    )


def summary(evaluations: dict[str, Evaluation]) -> str:
    """Returns the scores of all models as a text table, with their intervals where they have one."""
    table = pd.DataFrame({name: evaluation.scores for name, evaluation in evaluations.items()}).map("{:.4f}".format)
    for name, evaluation in evaluations.items():
        for metric in table.index.intersection(evaluation.intervals):
            table.loc[metric, name] += " [{:.4f}, {:.4f}]".format(*evaluation.intervals[metric])
    return table.to_string()


if __name__ == "__main__":
    cli.run(main)
