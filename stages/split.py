"""Splits a folder of images into train, validation and test sets, and packs their pixels.

    python -m stages.split

Reads data.images and data.labels; writes data/splits/{train,validation,test}, data/splits/classes.json,
data/splits/unreadable.csv, data/splits/near_duplicates.csv, data/splits/summary.json and data/splits/overview.npz.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import numpy as np
import pandas as pd
from rich.table import Table

from stages.common import cli, dataset, files, params, terminal
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError
from stages.common.dataset import SPLITS
from stages.labels import sources
from stages.splits import assign, groups, near_duplicates, overview, pack

MOST_CLASSES, FEWEST = 20, 10  # of which the terminal shows all; of more, the smallest ones


def main() -> None:
    p = params.read("seed", "image_size", "data")
    folder = p.data.images
    found = sources.find(p.data)
    images, notes = found.images, found.notes
    with (
        files.replacing(
            **{name: f"data/splits/{name}" for name in SPLITS},
            classes=dataset.CLASSES,
            unreadable="data/splits/unreadable.csv",
            near_duplicates="data/splits/near_duplicates.csv",
            overview="data/splits/overview.npz",
            summary="data/splits/summary.json",
        ) as out,
        files.scratch("data/splits") as scratch,
    ):
        pixels = ArrayFile.create(scratch / "pixels.npy", (len(images), p.image_size, p.image_size, 3))
        thumbnails = ArrayFile.create(
            scratch / "thumbnails.npy", (len(images), near_duplicates.SIDE, near_duplicates.SIDE, 3)
        )
        table, fingerprints = pack.pack_images(folder, images, pixels, thumbnails, p.data.max_pixels)
        table["pixels"] = fingerprints["pixels"]
        table["duplicates"] = near_duplicates.group(fingerprints, thumbnails, p.data.near_duplicates == "ignore")
        manifest, unreadable = separate_unreadable(table, folder, p.data.on_unreadable)
        readable = assign.drop_label_conflicts(groups.add(manifest, images, p.data), p.data.on_label_conflict)
        used = groups.drop_near_duplicates(readable) if p.data.near_duplicates == "drop" else readable
        split = pd.Series(assign.assign(used, p.data, p.seed), used.index, name="split")
        # Categories are sorted: the label is the class's place among the sorted names.
        used.insert(2, "label", used["class"].astype("category").cat.codes.astype(np.int64))
        for name in SPLITS:
            part = used[split == name]
            dataset.create(getattr(out, name), pixels, part.index, part.drop(columns=["pixels", "split"]))
        overview.save(out.overview, used, split.to_numpy(), pixels)
        counts = pd.crosstab(split, used["class"]).loc[list(SPLITS)]
        counted = {
            "unreadable": len(unreadable),
            "dropped": len(manifest) - len(readable),
            "groups": used["group"].nunique(),
        }
        listed = groups.table(readable, split)
        files.write_json(sorted(used["class"].unique()), out.classes)
        files.write_json(counts.to_dict("index") | counted, out.summary)
        files.write_csv(unreadable, out.unreadable)
        files.write_csv(listed, out.near_duplicates)
    left_out = {
        "unreadable": counted["unreadable"],
        "dropped for a label conflict": counted["dropped"],
        "dropped as near-duplicates": len(readable) - len(used),
    }
    terminal.show(
        f"{len(used)} images of {cli.printable(folder)}, {used['duplicates'].nunique()} of them different"
        + "".join(f", {count} {reason}" for reason, count in left_out.items() if count),
        *count_tables(counts.T),
        *notes,
        *groups.describe(listed, used, split, p.data),
    )


def count_tables(counts: pd.DataFrame) -> list[str | Table]:
    """Returns what to show of the numbers of images: all classes and the total, or of many classes the smallest.

    Args:
        counts: a row per class, a column per split.
    """
    sums = pd.DataFrame([counts.sum()], ["total"])
    if len(counts) <= MOST_CLASSES:
        return [terminal.table(pd.concat([counts, sums]).reset_index(names="class"))]
    smallest = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index[:FEWEST]]
    return [
        f"The {FEWEST} of {len(counts)} classes that have the fewest images, and all together:",
        terminal.table(pd.concat([smallest, sums]).reset_index(names="class")),
    ]


def separate_unreadable(table: pd.DataFrame, folder: str, on_unreadable: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Separates the images that can be used from those that cannot be read.

    Args:
        table: N rows of pack.pack_images.
        folder: the folder of images, for the errors' texts.
        on_unreadable: what to do about the latter, "error" or "skip".

    Returns:
        (DataFrame, DataFrame): the manifest, with the index of `table`; and path and reason of each image that cannot
            be read.

    Raises:
        UserError: some cannot be read, and are not to be skipped; or skipping them leaves a class empty.
    """
    bad = table["problem"] != ""
    if on_unreadable == "error" and bad.any():
        named = [f"{cli.printable(f'{folder}/{row.path}')} ({row.problem})" for row in table[bad].itertuples()]
        raise UserError(
            f"{bad.sum()} of {len(table)} images cannot be read; replace or remove them, or set data.on_unreadable to "
            f"skip, which lists them in data/splits/unreadable.csv: {cli.enumeration(named)}"
        )
    empty = sorted(set(table["class"]) - {"", *table.loc[~bad, "class"]})
    if empty:
        raise UserError(f"{folder}: no image of class {empty[0]!r} can be read. Replace them, or take the class out.")
    manifest = table[~bad].drop(columns="problem")
    return manifest, table.loc[bad, ["path", "problem"]].rename(columns={"problem": "reason"})


if __name__ == "__main__":
    cli.run(main)
