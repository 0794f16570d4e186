"""Splits a folder of images into train, validation and test sets, and packs their pixels.

    python -m stages.split

Reads data.images, data.labels and data.corrections; writes data/splits/{train,validation,test},
data/splits/classes.json, data/splits/unreadable.csv, data/splits/near_duplicates.csv, data/splits/corrections.csv (what
corrections say of which image), data/splits/summary.json and data/splits/overview.npz.

Corrections change labels and drop images, and move none to another split: those are divided by their labels as given.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from stages.common import cli, dataset, files, params, terminal, unchanged
from stages.common.arrays import ArrayFile
from stages.common.dataset import SPLITS
from stages.labels import classes, corrections, sources
from stages.labels.files import ImageFile
from stages.splits import assign, blank_images, cleaning, correcting, groups, near_duplicates, overview, pack, series
from stages.splits.pack import Manifest

FILES = ("classes.json", "unreadable.csv", "near_duplicates.csv", "corrections.csv", "overview.npz", "summary.json")
MOST_CLASSES = 20  # maximum number of classes listed in full
FEWEST_CLASSES = 10  # number of classes listed otherwise, those with the fewest images


def main() -> None:
    p = params.read("seed", "image_size", "background", "data")
    folder = p.data.images
    outputs = {Path(name).stem: f"{dataset.ROOT}/{name}" for name in (*SPLITS, *FILES)}
    with (
        unchanged.ensure(lambda: sources.list_files(p.data)) as inputs,
        files.replacing(**outputs) as out,
        files.scratch(dataset.ROOT) as scratch,
    ):
        rows = corrections.read(p.data.corrections)
        labelled = sources.find(p.data, corrected=rows)
        pixels, table = decode(p, labelled.images, scratch)
        inputs.sha256 |= zip((str(Path(folder, path)) for path in table["path"]), table["sha256"], strict=True)
        decisions = correcting.decide(rows, table, labelled, p.data)
        found, unreadable = cleaning.separate_unreadable(decisions.drop_unreadable(table), p.data)
        grouped = groups.add_columns(found, labelled.images, p.data)
        corrected = decisions.apply(grouped)
        readable = cleaning.drop_label_conflicts(corrected, p.data.on_label_conflict)
        used = cleaning.drop_near_duplicates(readable) if p.data.near_duplicates == "drop" else readable
        given = cleaning.used_as_given(grouped, p.data) if rows else None
        split = pd.Series(assign.to_splits(used, p.data, p.seed, given), used.index, name="split")
        # Categories are sorted: the label is the class's place among the sorted names.
        used.insert(2, "label", used["class"].astype("category").cat.codes.astype(np.int64))
        for name in SPLITS:
            part = used[split == name].drop(columns=["blank", "pixel_hash", "split", *groups.KEYS])
            dataset.create(getattr(out, name), pixels, part.index, part)
        overview.save(out.overview, used, split.to_numpy(), pixels)
        counts = pd.crosstab(split, used["class"]).loc[list(SPLITS)]
        conflicts = len(corrected) - len(readable)
        summary = {"unreadable": len(unreadable), "dropped": conflicts, "groups": used["group"].nunique()}
        summary["corrections"] = decisions.counts
        listed = groups.list_near_duplicates(readable, split)
        files.write_json(sorted(used["class"].unique()), out.classes)
        files.write_json(counts.to_dict("index") | summary, out.summary)
        files.write_csv(unreadable, out.unreadable)
        files.write_csv(listed, out.near_duplicates)
        files.write_csv(decisions.in_splits(split), out.corrections)
        params.check_unchanged(p)
        inputs.check()  # before outputs are moved into place; ensure() checks once more when they are
    copies = len(used) - used["duplicates"].nunique()
    remarks = {
        "is a near-duplicate of another" if copies == 1 else "are near-duplicates of others": copies,
        "unreadable": len(unreadable),
        "dropped for a label conflict": conflicts,
        "dropped as near-duplicates": len(readable) - len(used),
    }
    terminal.show(
        f"{len(used)} images of {cli.printable(folder)}"
        + "".join(f"; {count} {remark}" for remark, count in remarks.items() if count),
        *count_tables(counts.T),
        *(Text(note) if " -S " in note else note for note in labelled.notes),
        *decisions.notes(corrected),
        *(note for note in classes.warn(sorted(used["class"].unique())) if note not in labelled.notes),
        *blank_images.notes(corrected),
        *groups.notes(listed, used, split, p.data),
        *map(Text, series.notes(used, split, p.data)),  # unbroken, like other settings, so that they can be copied
    )


def decode(p: params.Params, images: list[ImageFile], folder: Path) -> tuple[ArrayFile, Manifest]:
    """Decodes all images into a file in a folder; returns it, and the table of images with hashes of their pixels and
    the numbers of near-duplicates.
    """
    count, side = len(images), near_duplicates.SIDE
    pixels = ArrayFile.create(folder / "pixels.npy", (count, p.image_size, p.image_size, 3))
    thumbnails = ArrayFile.create(folder / "thumbnails.npy", (count, side, side, 3))
    table, fingerprints = pack.pack_images(p.data.images, images, pixels, thumbnails, p.data.max_pixels, p.background)
    table["pixel_hash"] = fingerprints["pixel_hash"]
    table["duplicates"] = near_duplicates.find(fingerprints, thumbnails, p.data.near_duplicates == "ignore")
    return pixels, table


def count_tables(counts: pd.DataFrame) -> list[str | Table]:
    """Returns a table of the numbers of images per class and split, and the total; of many classes, the smallest."""
    heading, shown = [], counts
    if len(counts) > MOST_CLASSES:
        heading = [f"The {FEWEST_CLASSES} of {len(counts)} classes that have the fewest images, and all together:"]
        shown = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index[:FEWEST_CLASSES]]
    rows = pd.concat([shown, pd.DataFrame([counts.sum()], ["total"])])
    return [*heading, terminal.table(rows.reset_index(names="class"))]


if __name__ == "__main__":
    cli.run(main)
