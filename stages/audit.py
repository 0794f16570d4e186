"""Ranks labels by how doubtful they are, and estimates what more images would bring.

    python -m stages.audit

Reads all three splits, and the features of their images in data/features; writes data/audit/labels.csv (the labels that
it would change, the most doubtful first), data/audit/summary.json, data/audit/samples.npz and plots/label_audit.png
(the images of the first of them), and data/audit/learning_curve.json. Labels that data/splits/corrections.csv confirms
or has changed are not listed.

The columns label and note are empty, to be filled in by hand: `python -m stages.tools.relabel` takes a copy.

Its outputs are for people to read: no stage may train on them, because the test split is in them. The features are
those of the base, which was never trained on these labels.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize

from stages.charts import base
from stages.common import cli, dataset, features, files, params, result_tables, terminal
from stages.common.arrays import Groups, Sizes
from stages.label_audit import cross_validation, label_errors, learning_curve

CHART_IMAGES = 25  # number of images in the chart
TABLE_ROWS = 10  # number of labels in the terminal


@base.style()
def main() -> None:
    p = params.read("seed")
    splits = {name: dataset.load(name) for name in dataset.SPLITS}
    units = normalize(features.load(splits))
    images = pd.concat({name: split.manifest.assign(split=name) for name, split in splits.items()})
    labels, groups = images["label"].to_numpy(), groups_of(images)

    folds = cross_validation.divide(labels, groups, p.seed)
    head, by_head = cross_validation.select_head(units, labels, folds)
    probabilities = label_errors.average_with_neighbours(by_head, units, labels, folds)
    table, error_rate, accuracy = label_errors.review(images, groups, probabilities, splits["train"].classes)
    reviewed = images["sha256"].isin(labelled_by_hand())
    table = table[~reviewed[table.index]]
    curve = learning_curve.measure(head, by_head, units, labels, groups, folds, p.seed)

    finding = label_errors.describe_review(
        len(table), error_rate, accuracy, len(images), "data/audit/labels.csv", int(reviewed.sum())
    )
    estimates = {"label_error_rate": error_rate, "cross_val_accuracy": accuracy, "finding": finding}
    pixels, sizes = read_images(images.loc[table.index[:CHART_IMAGES]], splits)
    with files.replacing(folder="data/audit", chart="plots/label_audit.png") as out:
        out.folder.mkdir()
        by_hand = table.assign(label="", note="")
        files.write_csv(by_hand, out.folder / "labels.csv", errors="backslashreplace")
        files.write_json(estimates | {"folds": len(folds), "images": len(images)}, out.folder / "summary.json")
        files.write_json(curve, out.folder / "learning_curve.json")
        np.savez(out.folder / "samples.npz", pixels=pixels, sizes=sizes)
        base.save(draw(table[:CHART_IMAGES], pixels, sizes, finding), out.chart)
    terminal.show(finding)
    if len(table):
        terminal.show(terminal.table(table.drop(columns="quality")[:TABLE_ROWS]))


def labelled_by_hand() -> pd.Series:
    """Returns the SHA-256 of the images whose labels corrections have confirmed or changed."""
    table = result_tables.read("data/splits/corrections.csv")
    return table.loc[table["decision"].isin(["label", "new_class"]), "sha256"]


def groups_of(images: pd.DataFrame) -> Groups:
    """Returns the groups of images; a group per image if all of a class are one group, as of a fixed camera."""
    if images.groupby("label")["group"].nunique().min() < 2:
        return np.arange(len(images))
    return images["group"].to_numpy()


def read_images(images: pd.DataFrame, splits: dict[str, dataset.Split]) -> tuple[np.ndarray, Sizes]:
    """Returns the pixels and the sizes of images; the index of `images` holds split and row."""
    size = splits["train"].image_size
    pixels = [splits[name].pixels[row] for name, row in images.index]
    return np.array(pixels, np.uint8).reshape(-1, size, size, 3), images[["width", "height"]].to_numpy()


def draw(table: pd.DataFrame, pixels: np.ndarray, sizes: Sizes, finding: str) -> Figure:
    """Draws the images of the rows of a table, with the given and the suggested label and the path."""
    if table.empty:
        figure = Figure(figsize=(6, 1))
        figure.text(0.5, 0.5, textwrap.fill(finding, 70), ha="center", va="center")
        return figure
    titles = []
    for x in table.itertuples():
        suggested = f"suggested {x.suggested} ({x.suggested_probability:.0%})"
        titles.append(f"label {x.given} ({x.given_probability:.0%})\n{suggested}\n{x.path}")
    return base.grid(pixels, titles, finding, [base.WRONG] * len(table), sizes)


if __name__ == "__main__":
    cli.run(main)
