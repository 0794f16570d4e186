"""Converts the fine-tuned model for phones (LiteRT) and for other runtimes (ONNX), and compares the results with it.

    python -m stages.export

Reads data/models/finetuned and data/splits/{train,test}; writes data/models/exported (float16.tflite, int8.tflite,
model.onnx, labels.txt and comparison.json: how far each is from the SavedModel on the test split) and
metrics/export.json, the lowest agreement. How long an image takes goes to metrics/export_speed.json, which neither DVC
nor git tracks, since it is never twice the same.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()
elif __name__ == "__mp_main__":  # in the second process of conversion.convert, which imports this file before all else
    from stages.model import backend

    backend.configure()

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import cli, dataset, files, terminal
from stages.common.arrays import ArrayFile
from stages.formats import conversion, litert, onnx_model

SAVED_MODEL = "data/models/finetuned"
CHECKED = 1000  # test images that all four are compared on, at most, evenly spaced


def main() -> None:
    conversion.use_one_thread()
    train_split, test_split = dataset.load("train"), dataset.load("test")
    rows = dataset.evenly_spaced(np.arange(len(test_split.labels)), CHECKED)
    with files.replacing(
        models="data/models/exported", metrics="metrics/export.json", speed="metrics/export_speed.json"
    ) as out:
        out.models.mkdir()
        model = conversion.convert(SAVED_MODEL, train_split, out.models)
        paths = {
            "savedmodel": Path(SAVED_MODEL),
            "float16": out.models / "float16.tflite",
            "int8": out.models / "int8.tflite",
            "onnx": out.models / "model.onnx",
        }
        with cli.quiet():
            predictors = {
                "savedmodel": lambda images: model.signatures["serving_uint8"](images=images)["probabilities"].numpy(),
                "float16": litert.load(paths["float16"]),
                "int8": litert.load(paths["int8"]),
                "onnx": onnx_model.load(paths["onnx"]),
            }
        probabilities, milliseconds = {}, {}
        for name, predict in predictors.items():
            probabilities[name], milliseconds[name] = run(predict, test_split.pixels, rows, name)
        labels, reference = test_split.labels[rows], probabilities["savedmodel"]
        comparison = {
            name: compare(labels, probabilities[name], reference) | {"megabytes": megabytes(path)}
            for name, path in paths.items()
        }
        files.write_json(comparison, out.models / "comparison.json")
        files.write_json({"agreement": min(row["agreement"] for row in comparison.values())}, out.metrics)
        files.write_json(milliseconds, out.speed)
    table = pd.DataFrame(comparison).T.assign(milliseconds=milliseconds)
    terminal.show(
        f"The formats compared on {len(rows)} test images, one at a time:",
        terminal.table(table.reset_index(names="format")),
    )


def run(
    predict: Callable[[np.ndarray], np.ndarray], pixels: ArrayFile | np.ndarray, rows: np.ndarray, name: str
) -> tuple[np.ndarray, float]:
    """Predicts one image at a time.

    Args:
        predict: from uint8 [1, size, size, 3] to float32 [1, C].
        pixels: uint8 [N, size, size, 3].
        rows: int [M], the numbers of the images.
        name: for the progress bar.

    Returns:
        probabilities, float32 [M, C], and the median time of one image in milliseconds.
    """
    predict(pixels[rows[:1]])  # the first call takes longer
    probabilities, seconds = [], []
    for row in tqdm(rows, f"checking {name}", unit="image", disable=None):
        image = pixels[row : row + 1]
        start = time.perf_counter()
        probabilities.append(predict(image)[0])
        seconds.append(time.perf_counter() - start)
    return np.stack(probabilities), 1000 * float(np.median(seconds))


def compare(labels: np.ndarray, probabilities: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Compares the predictions of a converted model with the labels and with the SavedModel's.

    Args:
        labels: int [N].
        probabilities: float [N, C], of a converted model.
        reference: float [N, C], of the SavedModel.
    """
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
