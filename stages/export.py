"""Converts the fine-tuned model for phones (LiteRT) and for other runtimes (ONNX), and compares the results with it.

    python -m stages.export

Reads data/models/classifier and data/splits/{train,test}; writes data/models/exported (float16.tflite, int8.tflite,
model.onnx, labels.txt, and comparison.json: how far each is from the SavedModel on the test split) and
metrics/export.json, the lowest agreement. The time per image goes to metrics/export_speed.json, which neither DVC nor
git tracks, because it varies from run to run.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import cli, dataset, files, terminal
from stages.common.arrays import Labels, Pixels, Probabilities
from stages.formats import conversion, litert, onnx_model
from stages.model import backend, saved_model

SAVED_MODEL = "data/models/classifier"
FILES = {"float16": "float16.tflite", "int8": "int8.tflite", "onnx": "model.onnx"}
LOADERS = {".tflite": litert.load, ".onnx": onnx_model.load}
TIMED = 20  # number of test images that measure the time per image

# From uint8 [1, size, size, 3] to probabilities, float32 [1, C], and novelty, float32 [1].
Predictor = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Outputs(NamedTuple):
    """What a file says of N images: probabilities, [N, C], and novelty, float32 [N], above 1 for unlike ones."""

    probabilities: Probabilities
    novelty: np.ndarray


def main() -> None:
    backend.use_one_thread()
    train_split, test_split = dataset.load("train"), dataset.load("test")
    rows = dataset.evenly_spaced(np.arange(len(test_split.labels)), dataset.COMPARED)
    with files.replacing(
        models="data/models/exported", metrics="metrics/export.json", speed="metrics/export_speed.json"
    ) as out:
        out.models.mkdir()
        conversion.convert(SAVED_MODEL, train_split, out.models)
        paths = {"savedmodel": Path(SAVED_MODEL)} | {name: out.models / file for name, file in FILES.items()}
        predictors = {"savedmodel": saved_model_predictor(SAVED_MODEL)}
        with cli.quiet():
            predictors |= {name: LOADERS[paths[name].suffix](paths[name]) for name in FILES}
        milliseconds = {name: time_one(predict, test_split.pixels) for name, predict in predictors.items()}
        outputs = predict_all(predictors, test_split.pixels, rows)
        comparison = {}
        for name, path in paths.items():
            comparison[name] = compare(test_split.labels[rows], outputs[name], outputs["savedmodel"])
            comparison[name]["megabytes"] = megabytes(path)
        files.write_json(comparison, out.models / "comparison.json")
        files.write_json({"agreement": min(row["agreement"] for row in comparison.values())}, out.metrics)
        files.write_json(milliseconds, out.speed)
    table = pd.DataFrame(comparison).T.assign(milliseconds=milliseconds).reset_index(names="format")
    terminal.show(f"The formats compared on {len(rows)} test images, one at a time:", terminal.table(table))


def saved_model_predictor(path: str) -> Predictor:
    """Returns the signature serving_uint8 of a SavedModel as a function, as those of LOADERS."""
    serving = saved_model.load(path).signatures["serving_uint8"]

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs = serving(images=images)
        return outputs["probabilities"].numpy(), outputs["novelty"].numpy()

    return predict


def time_one(predict: Predictor, pixels: Pixels) -> float:
    """Returns the median time to predict one image, in milliseconds, over TIMED images."""
    images = pixels[:TIMED]
    predict(images[:1])  # the first call takes longer
    seconds = []
    for row in range(len(images)):
        start = time.perf_counter()
        predict(images[row : row + 1])
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def predict_all(predictors: Mapping[str, Predictor], pixels: Pixels, rows: np.ndarray) -> dict[str, Outputs]:
    """Predicts images one at a time, all formats at once, with a progress bar."""
    predicted = []
    with ThreadPoolExecutor(len(predictors)) as pool:
        for row in tqdm(rows, "checking the formats", unit="image", disable=None):
            tasks = [pool.submit(predict, pixels[row : row + 1]) for predict in predictors.values()]
            predicted.append([task.result() for task in tasks])
    of_formats = zip(predictors, zip(*predicted, strict=True), strict=True)
    return {name: Outputs(*map(np.concatenate, zip(*of_format, strict=True))) for name, of_format in of_formats}


def compare(labels: Labels, outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Compares the outputs of a converted model with the labels and with those of the SavedModel, the reference.

    `same_flags` is the share of images which both, or neither, say to be unlike the training images.
    """
    predicted = outputs.probabilities.argmax(axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "agreement": float((predicted == reference.probabilities.argmax(axis=1)).mean()),
        "same_flags": float(((outputs.novelty > 1) == (reference.novelty > 1)).mean()),
        "max_abs_difference": float(np.abs(outputs.probabilities - reference.probabilities).max()),
    }


def megabytes(path: Path) -> float:
    """Returns the size of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 1e6


if __name__ == "__main__":
    cli.run(main)
