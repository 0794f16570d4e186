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
elif __name__ == "__mp_main__":  # the second process of conversion.convert, which imports this file first
    from stages.model import backend

    backend.configure()

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import cli, dataset, files, terminal
from stages.common.arrays import Labels, Pixels, Probabilities
from stages.common.phases import FINETUNE
from stages.formats import conversion, litert, onnx_model

SAVED_MODEL = FINETUNE.saved_model
CHECKED = 1000  # maximum number of test images, evenly spaced, that the formats are compared on
FILES = {"float16": "float16.tflite", "int8": "int8.tflite", "onnx": "model.onnx"}
LOADERS = {".tflite": litert.load, ".onnx": onnx_model.load}


def main() -> None:
    conversion.use_one_thread()
    train_split, test_split = dataset.load("train"), dataset.load("test")
    rows = dataset.evenly_spaced(np.arange(len(test_split.labels)), CHECKED)
    with files.replacing(
        models="data/models/exported", metrics="metrics/export.json", speed="metrics/export_speed.json"
    ) as out:
        out.models.mkdir()
        model = conversion.convert(SAVED_MODEL, train_split, out.models)
        serving = model.signatures["serving_uint8"]
        paths = {"savedmodel": Path(SAVED_MODEL)} | {name: out.models / file for name, file in FILES.items()}
        predictors = {"savedmodel": lambda images: serving(images=images)["probabilities"].numpy()}
        with cli.quiet():
            predictors |= {name: LOADERS[paths[name].suffix](paths[name]) for name in FILES}
        probabilities, milliseconds, comparison = {}, {}, {}
        for name, predict in predictors.items():
            probabilities[name], milliseconds[name] = time_predictions(predict, test_split.pixels, rows, name)
            comparison[name] = compare(test_split.labels[rows], probabilities[name], probabilities["savedmodel"])
            comparison[name]["megabytes"] = megabytes(paths[name])
        files.write_json(comparison, out.models / "comparison.json")
        files.write_json({"agreement": min(row["agreement"] for row in comparison.values())}, out.metrics)
        files.write_json(milliseconds, out.speed)
    table = pd.DataFrame(comparison).T.assign(milliseconds=milliseconds).reset_index(names="format")
    terminal.show(f"The formats compared on {len(rows)} test images, one at a time:", terminal.table(table))


def time_predictions(
    predict: Callable[[np.ndarray], np.ndarray], pixels: Pixels, rows: np.ndarray, name: str
) -> tuple[Probabilities, float]:
    """Predicts images one at a time, with a progress bar. Returns also the median time per image in milliseconds."""
    predict(pixels[rows[:1]])  # the first call takes longer
    probabilities, seconds = [], []
    for row in tqdm(rows, f"checking {name}", unit="image", disable=None):
        image = pixels[row : row + 1]
        start = time.perf_counter()
        probabilities.append(predict(image)[0])
        seconds.append(time.perf_counter() - start)
    return np.stack(probabilities), 1000 * float(np.median(seconds))


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
