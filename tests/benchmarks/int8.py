"""Measures how far the exported files are from the SavedModel, and what the correction of biases does for int8.

    python -m tests.benchmarks.int8 FOLDER...

Each FOLDER is a project in which evaluate has run, with data/models/classifier and data/splits. Its model is converted
again, by this code. Prints a Markdown table with a row per folder and file, on the test split (1,000 images of a larger
one): accuracy, agreement, the share of images with the SavedModel's flag (same_flags: novelty above 1 or not), largest
difference of a probability, the same flags and the share of flags on foreign images (FOREIGN of the test split of each
other folder), seconds of the conversion with the correction, and of the correction alone. A second table has the mean
and the lowest agreement and same flags of each file over the folders.
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from ai_edge_litert.tools import flatbuffer_utils

FOREIGN = 60  # maximum number of test images of each other folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    arguments = parser.parse_args()
    from stages.model import backend

    backend.configure()
    backend.use_one_thread()
    rows = []
    for folder in arguments.folders:
        rows += measure(folder, [other for other in arguments.folders if other != folder])
        print(f"{folder} is done", flush=True)
    table = pd.DataFrame(rows).round(4)
    shares = [name for name in ("agreement", "same_flags", "foreign same_flags") if name in table]
    means = table.groupby("file", sort=False)[shares].agg(["mean", "min"]).round(4)
    means.columns = [", ".join(names) for names in means.columns]
    print(table.fillna("").to_markdown(index=False), means.to_markdown(), sep="\n\n")


def measure(folder, others):
    """A row of numbers for each file of a project, the SavedModel first; foreign images are those of `others`."""
    from stages import export
    from stages.common import dataset
    from stages.formats import litert, onnx_model
    from stages.model import network, saved_model

    train, test = (dataset.load(name, folder / dataset.ROOT) for name in ("train", "test"))
    chosen = dataset.evenly_spaced(np.arange(len(test.labels)), dataset.COMPARED)
    splits = [dataset.load("test", other / dataset.ROOT) for other in others]
    foreign = [dataset.evenly_spaced(np.arange(len(split.labels)), FOREIGN) for split in splits]
    pixels = [test.pixels[chosen], *(split.pixels[rows] for split, rows in zip(splits, foreign, strict=True))]
    images, spent, path = np.concatenate(pixels), {}, str(folder / export.SAVED_MODEL)
    contents = to_litert(path, train, spent)
    classifier = network.build(train.image_size, len(train.classes))
    temperature = saved_model.restore(classifier.weights, path)
    contents["ONNX"] = onnx_model.convert(classifier, train.classes, temperature, saved_model.read_pca(path))
    predictors = {"SavedModel": export.saved_model_predictor(path)}
    with tempfile.TemporaryDirectory() as place:
        for name, content in contents.items():
            file = Path(place) / name
            file.write_bytes(content)
            predictors[name] = (onnx_model if name == "ONNX" else litert).load(file)
        outputs = export.predict_all(predictors, images, np.arange(len(images)))
    known, unknown = (
        {name: export.Outputs(*(values[part] for values in of_file)) for name, of_file in outputs.items()}
        for part in (slice(len(chosen)), slice(len(chosen), None))
    )
    rows = []
    for name in outputs:
        row = {"folder": folder.name, "file": name}
        row |= export.compare(test.labels[chosen], known[name], known["SavedModel"])
        if others:
            flags, reference = unknown[name].novelty > 1, unknown["SavedModel"].novelty > 1
            row |= {"foreign same_flags": (flags == reference).mean(), "foreign flagged": flags.mean()}
        rows.append(row | {"conversion s": spent.get(f"{name} conversion"), "correction s": spent.get(name)})
    return rows


def to_litert(path, train, spent):
    """The contents of the LiteRT files by name; writes the seconds of int8's conversion and correction to `spent`."""
    from stages.formats import bias_correction, float_tail, litert, quantization

    float32 = litert.convert(path)
    images = train.pixels[quantization.calibration_rows(train.labels)]
    timed = timing(bias_correction.correct, spent, "int8")
    with mock.patch.object(bias_correction, "correct", side_effect=timed) as correct:
        corrected = timing(quantization.quantize, spent, "int8 conversion")(float32, images)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    _, tail = float_tail.split(model)
    return {
        "float16": litert.float16(float32),
        "int8, not corrected": float_tail.append(correct.call_args.args[0], model, tail),
        "int8": corrected,
    }


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
