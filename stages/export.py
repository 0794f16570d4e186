"""Converts the fine-tuned model for phones (LiteRT) and for other runtimes (ONNX), and checks what comes out.

    python -m stages.export

Reads data/models/finetuned and data/splits/{train,test}; writes data/models/exported (float16.tflite, int8.tflite,
model.onnx and labels.txt) and metrics/export.json: how far each is from the SavedModel on the test split. How long an
image takes goes to metrics/export_speed.json, which neither DVC nor git tracks, since it is never twice the same.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import contextlib
import multiprocessing
import signal
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from stages.common import cli, dataset, files
from stages.common.cli import UserError
from stages.formats import litert, litert_metadata, onnx_model
from stages.model import backend, saved_model

SAVED_MODEL = "data/models/finetuned"
CALIBRATION = 50  # training images that show int8 the ranges of values; 25 to 200 bring it as near, and take time
CHECKED = 1000  # test images that all four are compared on, at most, evenly spaced


def main():
    use_one_thread()
    train_split, test_split = dataset.load("train"), dataset.load("test")
    rows = dataset.evenly_spaced(np.arange(len(test_split.labels)), CHECKED)
    with files.replacing(
        models="data/models/exported", metrics="metrics/export.json", speed="metrics/export_speed.json"
    ) as out:
        folder = out.models
        folder.mkdir()
        model = convert(train_split, folder)
        with cli.quiet():
            models = {
                "savedmodel": lambda image: model.signatures["serving_uint8"](images=image)["probabilities"].numpy(),
                "float16": litert.load(folder / "float16.tflite"),
                "int8": litert.load(folder / "int8.tflite"),
                "onnx": onnx_model.load(folder / "model.onnx"),
            }
        probabilities, milliseconds = {}, {}
        for name, predict in models.items():
            probabilities[name], milliseconds[name] = run(predict, test_split.pixels, rows, name)
        figures = {
            name: compare(test_split.labels[rows], probabilities[name], probabilities["savedmodel"]) for name in models
        }
        for name, path in {
            "savedmodel": Path(SAVED_MODEL),
            "float16": folder / "float16.tflite",
            "int8": folder / "int8.tflite",
            "onnx": folder / "model.onnx",
        }.items():
            figures[name]["megabytes"] = sum(x.stat().st_size for x in [path, *path.rglob("*")] if x.is_file()) / 1e6
        files.write_json(figures, out.metrics)
        files.write_json(milliseconds, out.speed)
    table = pd.DataFrame(figures).T.assign(milliseconds=milliseconds)
    print(table.to_string(float_format="{:.4f}".format))


def use_one_thread():
    """One thread in TensorFlow as in the other runtimes: a fair comparison, and the same bits whatever the processor."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def convert(split, folder):
    """Writes float16.tflite, int8.tflite, model.onnx and labels.txt. int8, half of the work, is made in a second process.

    Args:
        split: dataset.Split, of which int8 is calibrated with some images.
        folder: where to.

    Returns:
        What saved_model.load returned of SAVED_MODEL.

    Raises:
        UserError: there is no SavedModel, or a converter fails.
    """
    labels = "".join(f"{' '.join(name.splitlines())}\n" for name in split.classes)  # a name of two lines is one label
    (folder / litert_metadata.LABELS).write_text(labels, encoding="utf-8")
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with files.scratch(folder) as scratch, ProcessPoolExecutor(1, spawn, begin_second_process) as second:
        with cli.quiet():  # that process, for as long as it lives
            second.submit(int)  # it starts while the next lines run
        model = saved_model.load(SAVED_MODEL)
        with converting("LiteRT"):
            litert.fix_batch(model, scratch / "single")
            int8 = second.submit(litert.int8, scratch / "single", split.pixels[sample(split.labels, CALIBRATION)])
            converted = {"float16": litert.float16(scratch / "single")}
        with converting("ONNX"):
            (folder / "model.onnx").write_bytes(onnx_model.convert(model, split.classes))
        with converting("LiteRT"):
            converted["int8"] = int8.result()
            for name, file in converted.items():
                file = litert_metadata.add(file, labels, int(model.image_size), float(model.temperature))
                (folder / f"{name}.tflite").write_bytes(file)
    return model


def begin_second_process() -> None:
    backend.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the first, which then says so in one line
    use_one_thread()


@contextlib.contextmanager
def converting(name):
    """Holds back what a converter says, and makes a UserError of its failure, of whatever kind."""
    with cli.quiet():
        try:
            yield
        except Exception as error:
            reason = textwrap.shorten(str(error), 300)
            raise UserError(
                f"{SAVED_MODEL} cannot be converted to {name}: {reason}. Mend that and run again."
            ) from None


def sample(labels, count):
    """Returns rows, int [M], evenly spaced within each class, of each class the same number: about `count` in all."""
    each = max(1, count // len(np.unique(labels)))
    return np.concatenate([dataset.evenly_spaced(np.flatnonzero(labels == label), each) for label in np.unique(labels)])


def run(predict, pixels, rows, name):
    """Returns the probabilities of some rows, float32 [M, C], one image at a time, and the median milliseconds of one."""
    predict(pixels[rows[:1]])  # the first call takes longer
    probabilities, seconds = [], []
    for row in tqdm(rows, f"checking {name}", unit="image", disable=None):
        image = pixels[row : row + 1]
        start = time.perf_counter()
        probabilities.append(predict(image)[0])
        seconds.append(time.perf_counter() - start)
    return np.stack(probabilities), 1000 * float(np.median(seconds))


def compare(labels, probabilities, reference):
    """Compares probabilities, float [N, C], with labels, int [N], and those of the SavedModel; predicted is the likeliest."""
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "agreement": float((predicted == reference.argmax(axis=1)).mean()),
        "max_abs_difference": float(np.abs(probabilities - reference).max()),
    }


if __name__ == "__main__":
    cli.run(main)
