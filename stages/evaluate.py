"""Measures the frozen and the fine-tuned model on the test split, which no training stage reads.

    python -m stages.evaluate

Reads data/splits/test and both SavedModels; writes metrics/evaluate.json, plots/predictions.csv (of the fine-tuned
model), plots/roc/*.csv, plots/precision_recall/*.csv and data/evaluation/samples.npz.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import command, dataset, explain, params, saved_model, scoring
from stages.common.command import UserError


def main():
    p = params.read("batch_size", "evaluate.threshold", "evaluate.minimum")
    split = dataset.load("test")
    with command.replacing(
        "metrics/evaluate.json", "metrics/classes.json", "plots/predictions.csv", "plots/roc", "plots/precision_recall",
        "data/evaluation/samples.npz",
    ) as (metrics_file, classes_file, predictions_file, roc_folder, precision_recall_folder, samples_file):
        roc_folder.mkdir()
        precision_recall_folder.mkdir()
        scores, class_scores = {}, {}
        for name in ("frozen", "finetuned"):
            model = saved_model.load(f"data/models/{name}")
            probabilities = predict(model, split.pixels, p["batch_size"], name)
            scores[name] = scoring.score(split.labels, probabilities, p["evaluate.threshold"])
            class_scores[name] = scoring.score_classes(
                split.labels, probabilities, p["evaluate.threshold"], split.classes
            )
            scoring.roc(split.labels, probabilities).to_csv(roc_folder / f"{name}.csv", index=False)
            scoring.precision_recall(split.labels, probabilities).to_csv(
                precision_recall_folder / f"{name}.csv", index=False
            )
        predictions = table(split, probabilities, p["evaluate.threshold"])
        dataset.write_csv(predictions, predictions_file, errors="backslashreplace")
        explain.save(samples_file, model, split, predictions)
        command.write_json(scores, metrics_file)
        command.write_json(class_scores, classes_file)
    print(pd.DataFrame(scores).T.to_string(float_format="{:.4f}".format))
    missed = [f"{metric} {scores['finetuned'][metric]:.4f} is below evaluate.minimum.{metric} {minimum:g}"
              for metric, minimum in p["evaluate.minimum"].items() if scores["finetuned"][metric] < minimum]
    if missed:
        raise UserError(f"the fine-tuned model's {', '.join(missed)}. Improve the model or lower the minimum.")


def predict(model, pixels, batch_size, name):
    """Returns the probabilities, float32 [N, C], that a loaded SavedModel gives to uint8 [N, size, size, 3]."""
    starts = tqdm(range(0, len(pixels), batch_size), f"evaluating {name}", unit="batch", disable=None)
    serve = model.signatures["serving_uint8"]
    return np.concatenate([serve(images=pixels[i : i + batch_size])["probabilities"] for i in starts])


def table(split, probabilities, threshold):
    """Returns a row per picture: path, group (dataset.Split), actual and predicted class, and the latter's probability."""
    predicted = scoring.predict(probabilities, threshold)
    return pd.DataFrame({
        "path": split.manifest["path"],
        "group": split.manifest["group"],
        "actual": split.manifest["class"],
        "predicted": np.array(split.classes)[predicted],
        "probability": probabilities[np.arange(len(predicted)), predicted],
        "margin": np.ptp(np.sort(probabilities)[:, -2:], axis=1),
    })


if __name__ == "__main__":
    command.run(main)
