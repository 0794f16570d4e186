"""Divides a folder of pictures into train, validation and test, and packs their pixels.

    python -m stages.split

Reads data.images; writes data/splits/{train,validation,test}, data/splits/classes.json and metrics/split.json.
"""

import hashlib
import json
import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import command, dataset, images, params
from stages.common.command import UserError

SPLITS = ("train", "validation", "test")


def main():
    p = params.read("seed", "image_size", "data.images", "data.validation", "data.test")
    folder = p["data.images"]
    pictures = images.find(folder)
    with command.replacing(
        *(f"data/splits/{name}" for name in SPLITS), dataset.CLASSES, "metrics/split.json"
    ) as (*split_folders, classes_file, metrics_file):
        with tempfile.TemporaryFile(dir=classes_file.parent) as scratch:
            pixels = np.memmap(scratch, np.uint8, "w+", shape=(len(pictures), p["image_size"], p["image_size"], 3))
            manifest = pack(folder, pictures, pixels)
            split = assign(manifest, p["data.validation"], p["data.test"], p["seed"])
            for name, split_folder in zip(SPLITS, split_folders):
                rows = np.flatnonzero(split == name)
                dataset.create(split_folder, pixels, rows, manifest.iloc[rows])
        classes = sorted(manifest["class"].unique())
        counts = pd.crosstab(pd.Series(split, name="split"), manifest["class"]).loc[list(SPLITS)]
        classes_file.write_text(json.dumps(classes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        metrics_file.write_text(json.dumps(counts.to_dict("index"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(manifest)} pictures of {folder}:\n{counts.to_string()}")


def pack(folder, pictures, pixels):
    """Decodes every picture once, several at a time.

    Args:
        folder: the folder that the pictures' paths start from.
        pictures: N of images.Picture.
        pixels: uint8 [N, size, size, 3], filled in.

    Returns:
        DataFrame of N rows: path, class, label, sha256.

    Raises:
        UserError: some cannot be read; all of them are named.
    """
    sha256, unreadable = [""] * len(pictures), {}

    def work(row):
        try:
            sha256[row], pixels[row] = images.decode(Path(folder) / pictures[row].path, pixels.shape[1])
        except ValueError as error:
            unreadable[row] = f"{Path(folder) / pictures[row].path} ({error})"

    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without holding Python's lock
        for _ in tqdm(pool.map(work, range(len(pictures))), "decoding", len(pictures), unit="picture", disable=None):
            pass
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(pictures)} pictures cannot be read; replace or remove them: "
            + ", ".join(unreadable[row] for row in sorted(unreadable))
        )
    manifest = pd.DataFrame(
        {"path": [x.path for x in pictures], "class": [x.class_name for x in pictures], "sha256": sha256}
    )
    manifest.insert(2, "label", manifest["class"].astype("category").cat.codes.astype(np.int64))  # categories are sorted
    return manifest


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
