"""Converts the fine-tuned model for phones (LiteRT) and for other runtimes (ONNX), and compares the results with it.

    python -m stages.export

Reads data/models/finetuned and data/splits/{train,test}; writes data/models/exported (float16.tflite, int8.tflite,
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

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import cli, dataset, files, terminal
from stages.common.arrays import Labels, Pixels, Probabilities
from stages.common.phases import FINETUNE
from stages.formats import conversion, litert, onnx_model
from stages.model import backend, saved_model

SAVED_MODEL = FINETUNE.saved_model
FILES = {"float16": "float16.tflite", "int8": "int8.tflite", "onnx": "model.onnx"}
LOADERS = {".tflite": litert.load, ".onnx": onnx_model.load}
TIMED = 20  # number of test images that measure the time per image

Predictor = Callable[[np.ndarray], np.ndarray]  # from uint8 [1, size, size, 3] to float32 [1, C]


def main() -> None:
    backend.use_one_thread()
    train_split, test_split = dataset.load("train"), dataset.load("test")
    rows = dataset.evenly_spaced(np.arange(len(test_split.labels)), dataset.COMPARED)
    with files.replacing(
        models="data/models/exported", metrics="metrics/export.json", speed="metrics/export_speed.json"
    ) as out:
        out.models.mkdir()
        conversion.convert(SAVED_MODEL, train_split, out.models)
        serving = saved_model.load(SAVED_MODEL).signatures["serving_uint8"]
        paths = {"savedmodel": Path(SAVED_MODEL)} | {name: out.models / file for name, file in FILES.items()}
        predictors = {"savedmodel": lambda images: serving(images=images)["probabilities"].numpy()}
        with cli.quiet():
            predictors |= {name: LOADERS[paths[name].suffix](paths[name]) for name in FILES}
        milliseconds = {name: time_one(predict, test_split.pixels) for name, predict in predictors.items()}
        probabilities = predict_all(predictors, test_split.pixels, rows)
        comparison = {}
        for name, path in paths.items():
            comparison[name] = compare(test_split.labels[rows], probabilities[name], probabilities["savedmodel"])
            comparison[name]["megabytes"] = megabytes(path)
        files.write_json(comparison, out.models / "comparison.json")
        files.write_json({"agreement": min(row["agreement"] for row in comparison.values())}, out.metrics)
        files.write_json(milliseconds, out.speed)
    table = pd.DataFrame(comparison).T.assign(milliseconds=milliseconds).reset_index(names="format")
    terminal.show(f"The formats compared on {len(rows)} test images, one at a time:", terminal.table(table))


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


def predict_all(predictors: Mapping[str, Predictor], pixels: Pixels, rows: np.ndarray) -> dict[str, Probabilities]:
    """Predicts images one at a time, all formats at once, with a progress bar."""
    predicted = []
    with ThreadPoolExecutor(len(predictors)) as pool:
        for row in tqdm(rows, "checking the formats", unit="image", disable=None):
            tasks = [pool.submit(predict, pixels[row : row + 1]) for predict in predictors.values()]
            predicted.append([task.result()[0] for task in tasks])
    return {name: np.stack(of_format) for name, of_format in zip(predictors, zip(*predicted, strict=True), strict=True)}


def compare(labels: Labels, probabilities: Probabilities, reference: Probabilities) -> dict[str, float]:
    """Compares the probabilities of a converted model with the labels and with the SavedModel's, the reference."""
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "agreement": float((predicted == reference.argmax(axis=1)).mean()),
        "max_abs_difference": float(np.abs(probabilities - reference).max()),
    }


def megabytes(path: Path) -> float:
    """Returns the size of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 1e6


if __name__ == "__main__":
    cli.run(main)
