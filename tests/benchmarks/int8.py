"""Measures how far the LiteRT files are from the SavedModel, and what the correction of biases does for int8.

    python -m tests.benchmarks.int8 FOLDER...

Each FOLDER is a project in which finetune has run, with data/models/finetuned and data/splits. Its model is converted
again, by this code. Prints a Markdown table with a row per folder and file, on the test split (1,000 images of a larger
one): accuracy, agreement, largest difference of a probability, seconds of the conversion with the correction, and of
the correction alone. A second table has the mean and the lowest agreement of each file over the folders.
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    arguments = parser.parse_args()
    from stages.model import backend

    backend.configure()
    backend.use_one_thread()
    rows = []
    for folder in arguments.folders:
        rows += measure(folder)
        print(f"{folder} is done", flush=True)
    table = pd.DataFrame(rows).round(4)
    agreement = table.groupby("file", sort=False)["agreement"].agg(["mean", "min"]).round(4)
    print(table.fillna("").to_markdown(index=False), agreement.to_markdown(), sep="\n\n")


def measure(folder):
    """A row of numbers for the SavedModel and each LiteRT file of a project."""
    from stages import export
    from stages.common import dataset
    from stages.formats import bias_correction, litert, quantization
    from stages.model import saved_model

    train, test = (dataset.load(name, folder / dataset.ROOT) for name in ("train", "test"))
    chosen = dataset.evenly_spaced(np.arange(len(test.labels)), dataset.COMPARED)
    pixels, labels = test.pixels[chosen], test.labels[chosen]
    model = saved_model.load(folder / export.SAVED_MODEL)
    reference = np.concatenate([model(pixels[k : k + 32])["probabilities"].numpy() for k in range(0, len(labels), 32)])
    spent = {}
    with tempfile.TemporaryDirectory() as place:
        float32 = litert.convert(str(folder / export.SAVED_MODEL))
        images = train.pixels[quantization.calibration_rows(train.labels)]
        timed = timing(bias_correction.correct, spent, "int8")
        with mock.patch.object(bias_correction, "correct", side_effect=timed) as correct:
            start = time.perf_counter()
            corrected = quantization.quantize(float32, images)
        seconds = time.perf_counter() - start
        contents = {
            "float16": litert.float16(float32),
            "int8, not corrected": correct.call_args.args[0],
            "int8": corrected,
        }
        probabilities = {"SavedModel": reference}
        for name, content in contents.items():
            path = Path(place) / "model.tflite"
            path.write_bytes(content)
            predict = litert.load(path)
            probabilities[name] = np.concatenate([predict(image[np.newaxis]) for image in pixels])
    return [
        {"folder": folder.name, "file": name}
        | export.compare(labels, values, reference)
        | {"conversion s": seconds if name == "int8" else np.nan, "correction s": spent.get(name, np.nan)}
        for name, values in probabilities.items()
    ]


def timing(function, spent, name):
    """The function, which also writes the seconds of its call to `spent`."""

    def timed(*arguments):
        start = time.perf_counter()
        result = function(*arguments)
        spent[name] = time.perf_counter() - start
        return result

    return timed


if __name__ == "__main__":
    main()
