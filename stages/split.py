"""Divides a folder of pictures into train, validation and test, and packs their pixels.

    python -m stages.split

Reads data.images; writes data/splits/{train,validation,test}, data/splits/classes.json, data/splits/unreadable.csv,
data/splits/overview.npz and metrics/split.json.
"""

import numpy as np
import pandas as pd

from stages.common import files, cli, dataset, params
from stages.images import decode, near_duplicates, overview, partition
from stages.common.cli import UserError
from stages.common.dataset import SPLITS


def main():
    p = params.read("seed", "image_size", "data.images", "data.validation", "data.test", "data.split",
                    "data.unreadable", "data.label_conflict")
    folder = p["data.images"]
    pictures = decode.find(folder)
    divided = p["data.split"] == "auto" and partition.is_divided(pictures)
    if divided:
        pictures = partition.below_splits(pictures)
    with files.replacing(
        *(f"data/splits/{name}" for name in SPLITS), dataset.CLASSES, "data/splits/unreadable.csv",
        "data/splits/overview.npz", "metrics/split.json",
    ) as (*split_folders, classes_file, unreadable_file, overview_file, metrics_file), files.scratch(
        "data/splits"
    ) as scratch:
        pixels = dataset.Pixels.create(scratch / "pixels.npy", len(pictures), p["image_size"])
        thumbnails = dataset.Pixels.create(scratch / "thumbnails.npy", len(pictures), near_duplicates.SIDE)
        table, fingerprints = decode.pack(folder, pictures, pixels, thumbnails)
        table["pixels"] = fingerprints["pixels"]
        manifest, unreadable = sort_out(table, folder, p["data.unreadable"])
        manifest["group"] = near_duplicates.group(fingerprints, thumbnails)[manifest.index]
        readable = len(manifest)
        manifest = partition.settle_conflicts(manifest, p["data.label_conflict"])
        # Categories are sorted: the label is the class's place among the sorted names.
        manifest.insert(2, "label", manifest["class"].astype("category").cat.codes.astype(np.int64))
        if divided:
            split = partition.given(manifest)
        else:
            split = partition.assign(manifest, p["data.validation"], p["data.test"], p["seed"])
        for name, split_folder in zip(SPLITS, split_folders):
            part = manifest[split == name]
            dataset.create(split_folder, pixels, part.index, part.drop(columns="pixels"))
        overview.save(overview_file, manifest, split, pixels)
        counts = pd.crosstab(pd.Series(split, manifest.index, name="split"), manifest["class"]).loc[list(SPLITS)]
        found = {
            "unreadable": len(unreadable), "dropped": readable - len(manifest), "groups": manifest["group"].nunique()
        }
        files.write_json(sorted(manifest["class"].unique()), classes_file)
        files.write_json(counts.to_dict("index") | found, metrics_file)
        files.write_csv(unreadable, unreadable_file)
    print(f"{len(manifest)} pictures of {folder}, {found['groups']} of them different; {found['unreadable']} unreadable, "
          f"{found['dropped']} dropped for a label conflict:\n{counts.to_string()}")


def sort_out(table, folder, unreadable):
    """Parts the pictures that can be used from those that cannot be read.

    Args:
        table: N rows of decode.pack.
        folder: the folder of pictures, for the errors' texts.
        unreadable: what to do about those, "error" or "skip".

    Returns:
        (DataFrame, DataFrame): the manifest, with its index from `table`; and path and reason of what cannot be read.

    Raises:
        UserError: some cannot be read, and are not to be skipped; or skipping them leaves a class empty.
    """
    bad = table["problem"] != ""
    if unreadable == "error" and bad.any():
        named = [f"{cli.printable(f'{folder}/{row.path}')} ({row.problem})" for row in table[bad].itertuples()]
        raise UserError(
            f"{bad.sum()} of {len(table)} pictures cannot be read; replace or remove them, or set data.unreadable to "
            f"skip, which lists them in data/splits/unreadable.csv: {cli.enumeration(named)}"
        )
    for name in sorted(set(table["class"]) - set(table.loc[~bad, "class"])):
        raise UserError(f"{folder}: no picture of class {name!r} can be read. Replace them or remove the folder.")
    manifest = table[~bad].drop(columns="problem")
    return manifest, table.loc[bad, ["path", "problem"]].rename(columns={"problem": "reason"})


if __name__ == "__main__":
    cli.run(main)
