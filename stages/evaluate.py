"""Measures the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits/test, both SavedModels, and data/splits/validation where evaluate.threshold is to be chosen on it; writes
metrics/evaluate.json, metrics/classes.json, data/evaluation/intervals.json, data/evaluation/reliability.csv, plots/roc/*.csv
and plots/precision_recall/*.csv; and of the fine-tuned model data/evaluation/curves/*.csv, plots/predictions.csv and
data/evaluation/samples.npz.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import files, cli, dataset, params
from stages.evaluation import bootstrap, examples, metrics, paired_test
from stages.model import saved_model, temperature as calibration
from stages.common.cli import UserError


def main():
    p = params.read("batch_size", "evaluate.threshold", "evaluate.minimum")
    split = dataset.load("test")
    if isinstance(p["evaluate.threshold"], str) and len(split.classes) > 2:
        raise UserError(f"evaluate.threshold is {p['evaluate.threshold']}, which is for two classes, but these are "
                        f"{len(split.classes)}: set a number, which then plays no part.")
    with files.replacing(
        "metrics/evaluate.json", "metrics/classes.json", "data/evaluation/intervals.json",
        "data/evaluation/reliability.csv", "data/evaluation/curves", "data/evaluation/samples.npz",
        "plots/predictions.csv", "plots/roc", "plots/precision_recall",
    ) as (metrics_file, classes_file, intervals_file, reliability_file, curves_folder, samples_file, predictions_file,
          roc_folder, precision_recall_folder):
        for folder in (curves_folder, roc_folder, precision_recall_folder):
            folder.mkdir()
        scores, class_scores, ranges, reliability, predicted = {}, {}, {}, {}, {}
        model = saved_model.load("data/models/finetuned")
        for name in ("frozen", "finetuned"):
            temperature = saved_model.restore(model.weights, f"data/models/{name}")  # of one and the same network
            threshold = choose_threshold(model, p["evaluate.threshold"], p["batch_size"], name)
            probabilities = predict(model, split.pixels, p["batch_size"], f"evaluating {name}")
            predicted[name] = metrics.predict(probabilities, threshold)
            scores[name], class_scores[name], ranges[name], bins = measure(split, probabilities, threshold, temperature)
            reliability[name] = pd.concat(bins, names=["calibrated"])
            metrics.roc(split.labels, probabilities).to_csv(roc_folder / f"{name}.csv", index=False)
            metrics.precision_recall(split.labels, probabilities).to_csv(
                precision_recall_folder / f"{name}.csv", index=False
            )
        for name, curve in metrics.class_curves(split.labels, probabilities, split.classes).items():
            files.write_csv(curve, curves_folder / f"{name}.csv")
        pd.concat(reliability, names=["model"]).droplevel(2).to_csv(reliability_file)
        predictions = tabulate(split, probabilities, predicted)
        files.write_csv(predictions, predictions_file, errors="backslashreplace")
        examples.save(samples_file, model, split, predictions)
        both = pd.DataFrame({"path": split.manifest["path"], "group": split.manifest["group"],
                             "a": predicted["frozen"] == split.labels, "b": predicted["finetuned"] == split.labels})
        files.write_json({**scores, "changed": paired_test.changed(both)}, metrics_file)
        files.write_json(class_scores, classes_file)
        files.write_json(ranges, intervals_file)
    print(summary(scores, ranges), paired_test.verdict(both, "frozen", "fine-tuned"), sep="\n")
    missed = [f"{metric} {scores['finetuned'][metric]:.4f} is below evaluate.minimum.{metric} {minimum:g}"
              for metric, minimum in p["evaluate.minimum"].items() if scores["finetuned"][metric] < minimum]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")


def choose_threshold(model, threshold, batch_size, name):
    """Returns evaluate.threshold, or what a criterion in its place picks on the validation split for a loaded SavedModel."""
    if not isinstance(threshold, str):
        return threshold
    split = dataset.load("validation")
    probabilities = predict(model, split.pixels, batch_size, f"choosing the threshold of {name}")
    return metrics.choose_threshold(split.labels, probabilities, threshold, name)


def predict(model, pixels, batch_size, purpose):
    """Returns the probabilities, float32 [N, C], that a loaded SavedModel gives to uint8 [N, size, size, 3]."""
    starts = tqdm(range(0, len(pixels), batch_size), purpose, unit="batch", disable=None)
    serve = model.signatures["serving_uint8"]
    return np.concatenate([serve(images=pixels[i : i + batch_size])["probabilities"] for i in starts])


def measure(split, probabilities, threshold, temperature):
    """Measures predictions of a split.

    Returns:
        (dict, dict, dict, dict): the scores, those of each class, the intervals of both, and metrics.reliability before
        (False) and after (True) temperature scaling.
    """
    labels = split.labels
    scores = metrics.score(labels, probabilities, threshold)
    class_scores = metrics.score_classes(labels, probabilities, threshold, split.classes)
    ranges = bootstrap.intervals(labels, probabilities, threshold, split.manifest["group"], scores, class_scores)
    calibrated = calibration.apply(probabilities, temperature)
    bins = {False: metrics.reliability(labels, probabilities), True: metrics.reliability(labels, calibrated)}
    scores |= {
        "ece": metrics.calibration_error(bins[False]),
        "calibrated_loss": float(metrics.cross_entropy(labels, calibrated).mean()),
        "calibrated_ece": metrics.calibration_error(bins[True]),
        "temperature": temperature,
        **({"threshold": threshold} if len(split.classes) == 2 else {}),
    }
    return scores, class_scores, ranges, bins


def tabulate(split, probabilities, predicted):
    """Returns a row per picture, for people to read and for the plot stage.

    Args:
        split: dataset.Split.
        probabilities: float [N, C], of the fine-tuned model.
        predicted: {"frozen": int [N], "finetuned": int [N]}, labels.

    Returns:
        DataFrame: path, group (dataset.Split), actual and predicted class, the latter's probability, margin (how far the
        likeliest class is above the next) and frozen, the class that the frozen model predicts.
    """
    names = np.array(split.classes)
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return pd.DataFrame({
        "path": split.manifest["path"],
        "group": split.manifest["group"],
        "actual": split.manifest["class"],
        "predicted": names[predicted["finetuned"]],
        "probability": probabilities[np.arange(len(probabilities)), predicted["finetuned"]],
        "margin": first - second,
        "frozen": names[predicted["frozen"]],
    })


def summary(scores, ranges):
    """Returns the scores of both models as a text table, with their intervals where they have one."""
    table = pd.DataFrame(scores).map("{:.4f}".format)
    for name, of_metric in ranges.items():
        for metric in table.index.intersection(of_metric):
            table.loc[metric, name] += " [{:.4f}, {:.4f}]".format(*of_metric[metric])
    return table.to_string()


if __name__ == "__main__":
    cli.run(main)
