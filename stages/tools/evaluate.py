"""Measures the fine-tuned model on a folder of labelled images that came later.

    python -m stages.tools.evaluate FOLDER [OPTIONS]

    FOLDER           images in one sub-folder per class, or with names that data.label_pattern fits
    --labels TABLE   the table of their labels, with the columns that data.columns names
    --model FOLDER   the SavedModel (data/models/classifier), the only output of the pipeline needed
    --output FOLDER  where to write metrics.json and predictions.csv

Prints metrics with 95% intervals, beside those of the test split, metrics of each class, confusions and the most
confident mistakes. Images that are in train or validation, or near-duplicates of these, are refused.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common import cli, dataset, files, params, terminal
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError, enumeration, printable
from stages.evaluation import model_evaluation, prediction_sets, predictions, scores
from stages.evaluation.model_evaluation import Evaluation
from stages.labels import sources
from stages.labels.files import Labelled
from stages.model import saved_model
from stages.model.temperature import scale_probabilities
from stages.splits import cleaning, groups, near_duplicates, overlap, pack
from stages.splits.pack import Manifest
from stages.tools import inference, measurement

MODEL = "data/models/classifier"


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--labels", default=params.NO_LABELS)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    p = params.read("batch_size", "data")
    given = {"images": arguments.folder, "labels": arguments.labels, "split": "random", "fold": "none"}
    if arguments.labels != params.NO_LABELS:
        given["label_pattern"] = ""
    data = p.data.model_copy(update=given)
    labelled = find(data)
    model = saved_model.load(arguments.model)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=".") as scratch:
        pixels, images, notes = read(data, labelled, model, Path(scratch))
        evaluation = evaluate(model, pixels, images, p.batch_size)
    classes = inference.classes_of(model)
    table = predictions.prediction_table(images, classes, evaluation.probabilities, evaluation.predicted)
    tested = measurement.read_test() if arguments.model == MODEL else None
    terminal.show(*measurement.describe(arguments.folder, classes, evaluation, table, tested), *labelled.notes, *notes)
    if arguments.output:
        write(arguments.output, evaluation, table)


def find(data: params.Data) -> Labelled:
    """Finds the labelled images of a folder, which may be of a single class."""
    folder = printable(data.images)
    if not Path(data.images).is_dir():
        raise UserError(f"{folder} is not a folder. Name a folder of images with one sub-folder per class.")
    labelled = sources.find(data, fewest=0)
    if not any(image.class_name for image in labelled.images):
        raise UserError(
            f"{folder} has no labelled images. Sort them into one sub-folder per class, or name a table: --labels."
        )
    return labelled


def read(data: params.Data, labelled: Labelled, model: Any, scratch: Path) -> tuple[ArrayFile, Manifest, list[str]]:
    """Decodes the images, and checks that the model was not trained on them; returns the pixels of all, the manifest of
    those that can be used, whose index holds their rows, and notes.
    """
    classes, images = inference.classes_of(model), labelled.images
    if unknown := sorted({image.class_name for image in images} - {"", *classes}):
        raise UserError(
            f"{printable(data.images)} has classes that the model does not know, "
            f"{enumeration(list(map(repr, unknown)))}: rename them, or take them out. The model's classes are "
            f"{enumeration(list(map(repr, classes)))}."
        )
    count, size, side = len(images), int(model.image_size), near_duplicates.SIDE
    pixels = ArrayFile.create(scratch / "pixels.npy", (count, size, size, 3))
    thumbnails = ArrayFile.create(scratch / "thumbnails.npy", (count, side, side, 3))
    table, fingerprints = pack.pack_images(
        data.images, images, pixels, thumbnails, data.max_pixels, inference.background_of(model)
    )
    table["pixel_hash"], identical = fingerprints["pixel_hash"], data.near_duplicates == "ignore"
    if overlap.exist():
        copies, table["duplicates"] = overlap.find(table["sha256"], fingerprints, thumbnails, identical)
        notes = overlap.refuse_known(table["path"], copies)
    else:
        table["duplicates"] = near_duplicates.find(fingerprints, thumbnails, identical)
        notes = [f"{dataset.ROOT} is not here, so whether the model was trained on any of these images is not checked."]
    found, unreadable = cleaning.separate_unreadable(table, data)
    notes += [f"Left out: {printable(row.path)} ({row.reason})" for row in unreadable.itertuples()]
    manifest = groups.add_columns(found, images, data)
    used = cleaning.drop_label_conflicts(manifest, data.on_label_conflict)
    if len(used) < len(manifest):
        notes.append(f"{len(manifest) - len(used)} images are left out: their pixels have several labels.")
    used.insert(2, "label", used["class"].map(classes.index))
    return pixels, used, notes


def evaluate(model: Any, pixels: ArrayFile, images: Manifest, batch_size: int) -> Evaluation:
    """Computes all metrics of a loaded SavedModel, with its own threshold and temperature."""
    probabilities = predictions.predict(model, pixels, batch_size, "predicting")[0][images.index]
    predicted = scores.predict(probabilities, float(model.threshold))
    calibrated = scale_probabilities(probabilities, float(model.temperature))
    classes = inference.classes_of(model)
    evaluation = model_evaluation.evaluate(images, classes, predicted, probabilities, calibrated)
    if len(classes) > 2:
        labels, threshold = images["label"].to_numpy(), float(model.set_threshold)
        evaluation.scores.update(prediction_sets.score(labels, probabilities, threshold))
    return evaluation


def write(folder: str, evaluation: Evaluation, table: pd.DataFrame) -> None:
    """Writes metrics.json and predictions.csv, whose columns are those of plots/predictions.csv without frozen."""
    with files.replacing(metrics=f"{folder}/metrics.json", predictions=f"{folder}/predictions.csv") as out:
        by_class = {"classes": evaluation.class_scores["classes"], "intervals": evaluation.intervals}
        files.write_json(evaluation.scores | by_class, out.metrics)
        files.write_csv(table, out.predictions, errors="backslashreplace")


if __name__ == "__main__":
    cli.run(main)
