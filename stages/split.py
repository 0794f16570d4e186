"""Divides a folder of pictures into train, validation and test, and packs their pixels.

    python -m stages.split

Reads data.images; writes data/splits/{train,validation,test}, data/splits/classes.json, data/splits/unreadable.csv and
metrics/split.json.
"""

import hashlib
import json
import math
import tempfile

import numpy as np
import pandas as pd

from stages.common import command, dataset, images, params
from stages.common.command import UserError

SPLITS = ("train", "validation", "test")
NAMED = 20  # unreadable pictures that an error names


def main():
    p = params.read("seed", "image_size", "data.images", "data.validation", "data.test", "data.unreadable")
    folder = p["data.images"]
    pictures = images.find(folder)
    with command.replacing(
        *(f"data/splits/{name}" for name in SPLITS), dataset.CLASSES, "data/splits/unreadable.csv", "metrics/split.json"
    ) as (*split_folders, classes_file, unreadable_file, metrics_file):
        with tempfile.TemporaryFile(dir=classes_file.parent) as scratch:
            pixels = np.memmap(scratch, np.uint8, "w+", shape=(len(pictures), p["image_size"], p["image_size"], 3))
            manifest, unreadable = sort_out(images.pack(folder, pictures, pixels), folder, p["data.unreadable"])
            split = assign(manifest, p["data.validation"], p["data.test"], p["seed"])
            for name, split_folder in zip(SPLITS, split_folders):
                part = manifest[split == name]
                dataset.create(split_folder, pixels, part.index, part)
        classes = sorted(manifest["class"].unique())
        counts = pd.crosstab(pd.Series(split, manifest.index, name="split"), manifest["class"]).loc[list(SPLITS)]
        classes_file.write_text(json.dumps(classes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        dataset.write_csv(unreadable, unreadable_file)
        metrics = counts.to_dict("index") | {"unreadable": len(unreadable)}
        metrics_file.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(manifest)} pictures of {folder}, {len(unreadable)} unreadable:\n{counts.to_string()}")


def sort_out(table, folder, unreadable):
    """Parts the pictures that can be used from those that cannot be read.

    Args:
        table: N rows of images.pack.
        folder: the folder of pictures, for the errors' texts.
        unreadable: what to do about those, "error" or "skip".

    Returns:
        (DataFrame, DataFrame): the manifest, with path, class, label and sha256, its index being that of `table`; and the
        path and reason of those that cannot be read.

    Raises:
        UserError: some cannot be read, and are not to be skipped; or skipping them leaves a class empty.
    """
    bad = table["problem"] != ""
    if unreadable == "error" and bad.any():
        named = [f"{shown(f'{folder}/{row.path}')} ({row.problem})" for row in table[bad].head(NAMED).itertuples()]
        if bad.sum() > NAMED:
            named.append(f"and {bad.sum() - NAMED} more; data.unreadable: skip lists all in data/splits/unreadable.csv")
        raise UserError(
            f"{bad.sum()} of {len(table)} pictures cannot be read; replace or remove them, or set data.unreadable to "
            f"skip: {', '.join(named)}"
        )
    manifest = table.loc[~bad, ["path", "class", "sha256"]]
    for name in sorted(set(table["class"]) - set(manifest["class"])):
        raise UserError(f"{folder}: no picture of class {name!r} can be read. Replace them or remove the folder.")
    manifest.insert(2, "label", manifest["class"].astype("category").cat.codes.astype(np.int64))  # categories are sorted
    return manifest, table.loc[bad, ["path", "problem"]].rename(columns={"problem": "reason"})


def shown(path):
    """A path for an error's text: escaped and quoted where it has bytes that are no text, or control characters."""
    return path if path.isprintable() else repr(path)


def assign(manifest, validation, test, seed):
    """Assigns each picture to a split, class by class.

    Identical files form a group, which stays together. The groups of a class are put in an order that is a hash of the
    seed and the file's content: it depends neither on names nor on what else is in the folder, so that a few files more
    or fewer move other pictures only at the borders between the splits.

    Args:
        manifest: N rows with path, class and sha256, sorted by path.
        validation, test: the fractions.
        seed: whole number.

    Returns:
        str array [N]: "train", "validation" or "test".

    Raises:
        UserError: a class has too few different pictures to be in every split.
    """
    groups = manifest.groupby("sha256", sort=False).agg(
        **{"class": ("class", "first"), "size": ("class", "size")}  # a group goes where its first picture's class goes
    )
    groups["order"] = [hashlib.sha256(f"{seed} {sha256}".encode()).digest() for sha256 in groups.index]
    groups["split"] = "train"
    for _, group in groups.sort_values("order").groupby("class"):
        total = group["size"].sum()
        tests, validations = wanted(total, test), wanted(total, validation)
        middle = group["size"].cumsum() - group["size"] / 2
        groups.loc[group.index[middle < tests + validations], "split"] = "validation"
        groups.loc[group.index[middle < tests], "split"] = "test"
    split = groups["split"].reindex(manifest["sha256"]).to_numpy(dtype=str)
    needed = next(n for n in range(3, 10**6) if n - wanted(n, test) - wanted(n, validation) >= 1)
    for name, rows in manifest.groupby("class").indices.items():
        if set(split[rows]) != set(SPLITS):
            different = manifest["sha256"].iloc[rows].nunique()
            raise UserError(
                f"class {name!r} has {len(rows)} pictures, {different} of them different, which is too few for it to be "
                f"in every split: it needs at least {needed} different ones at data.validation {validation} and "
                f"data.test {test}."
            )
    return split


def wanted(count, fraction):
    """The number of pictures, at least one, that `fraction` makes out of `count`; halves are rounded up."""
    return max(1, math.floor(count * fraction + 0.5))


if __name__ == "__main__":
    command.run(main)
