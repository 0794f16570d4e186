"""Ranks labels by how doubtful they are, and estimates what more images would bring.

    python -m stages.audit

Reads all three splits and model.weights; writes data/audit/labels.csv (the labels that it would change, the most
doubtful first), data/audit/summary.json, data/audit/samples.npz and plots/label_audit.png (the images of the first of
them), and data/audit/learning_curve.json.

It reads the test split, and labels that training learns from: it is for people to read, and no stage may train on what
it writes. It needs no trained model: the features are those of the base, which was never trained on these labels.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize

from stages.charts import base
from stages.common import cli, dataset, files, params, terminal
from stages.common.dataset import SPLITS
from stages.label_audit import cross_validation, label_errors, learning_curve
from stages.label_audit.features import extract

CHART_IMAGES, SHOWN = 25, 10  # in the chart, on the terminal


@base.style()
def main() -> None:
    p = params.read("seed", "batch_size", "model")
    splits = {name: dataset.load(name) for name in SPLITS}
    features = normalize(extract(list(splits.values()), p.model.weights, p.batch_size))
    images = pd.concat([split.manifest.assign(split=name) for name, split in splits.items()], ignore_index=True)
    labels, groups = images["label"].to_numpy(), groups_of(images)

    folds = cross_validation.divide(labels, groups, p.seed)
    head, by_head = cross_validation.select_head(features, labels, folds)
    probabilities = label_errors.average_with_neighbours(by_head, features, labels, folds)
    table, error_rate, accuracy = label_errors.review(images, groups, probabilities, splits["train"].classes)
    curve = learning_curve.measure(head, by_head, features, labels, groups, folds, p.seed)

    summary = {
        "label_error_rate": error_rate,
        "cross_val_accuracy": accuracy,
        "folds": len(folds),
        "images": len(images),
    }
    pixels, sizes = read_images(table[:CHART_IMAGES], splits)
    with files.replacing(folder="data/audit", chart="plots/label_audit.png") as out:
        out.folder.mkdir()
        files.write_csv(table, out.folder / "labels.csv", errors="backslashreplace")
        files.write_json(summary, out.folder / "summary.json")
        files.write_json(curve, out.folder / "learning_curve.json")
        with open(out.folder / "samples.npz", "wb") as file:
            np.savez(file, pixels=pixels, sizes=sizes)
        base.save(draw(table[:CHART_IMAGES], pixels, sizes), out.chart)
    terminal.show(label_errors.describe(len(table), error_rate, accuracy, "data/audit/labels.csv"))
    if len(table):
        terminal.show(terminal.table(table.drop(columns="quality")[:SHOWN]))


def groups_of(images: pd.DataFrame) -> np.ndarray:
    """Returns the group of each image, int [N]; each its own where all of a class are one, as of a fixed camera."""
    if images.groupby("label")["group"].nunique().min() < 2:
        return np.arange(len(images))
    return images["group"].to_numpy()


def read_images(table: pd.DataFrame, splits: dict[str, dataset.Split]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images that rows name: uint8 [K, size, size, 3], and int [K, 2], width and height of the files."""
    size = splits["train"].image_size
    pixels, sizes = np.empty((len(table), size, size, 3), np.uint8), np.empty((len(table), 2), int)
    for place, (name, path) in enumerate(zip(table["split"], table["path"], strict=True)):
        manifest = splits[name].manifest
        [row] = np.flatnonzero(manifest["path"] == path)
        pixels[place] = splits[name].pixels[row]
        sizes[place] = manifest.loc[row, ["width", "height"]]
    return pixels, sizes


def draw(table: pd.DataFrame, pixels: np.ndarray, sizes: np.ndarray) -> Figure:
    """Draws the images of the rows of a table; with the given and the suggested label."""
    if table.empty:
        figure = Figure(figsize=(6, 1))
        figure.text(0.5, 0.5, "No label errors found", ha="center", va="center")
        return figure
    titles = [
        f"given {x.given_probability:.0%}: {x.given}\nsuggested {x.suggested_probability:.0%}: {x.suggested}"
        for x in table.itertuples()
    ]
    colours = [base.WRONG] * len(table)
    return base.grid(pixels, titles, "Possible label errors, the most likely first", colours, sizes)


if __name__ == "__main__":
    cli.run(main)
