"""Which image goes to which split, and what stands in the way: label conflicts, leaks, classes that are too small."""

import dataclasses
import hashlib
import math

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS

GIVEN = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # folder name -> split


def assign(manifest: pd.DataFrame, data: params.Data, seed: int) -> np.ndarray:
    """Assigns each image to a split, class by class.

    A group of near-duplicates stays together, on the side of the class that its first image has. The groups of a class are
    put in an order that is a hash of the seed and the group's content, and fill test, then validation, then train. The
    order depends neither on names nor on what else is in the folder, so that a few files more or fewer move other
    images only at the borders between the splits.

    Args:
        manifest: N rows with path, class, sha256 and group, sorted by path.
        data: the group of params.yaml.
        seed: of the order.

    Returns:
        str array [N]: "train", "validation" or "test".

    Raises:
        UserError: a class has too few different images to be in every split.
    """
    groups = manifest.groupby("group").agg(
        **{"class": ("class", "first"), "size": ("class", "size"), "content": ("sha256", "min")}
    )
    groups["order"] = [hashlib.sha256(f"{seed} {content}".encode()).digest() for content in groups["content"]]
    placed = dict.fromkeys(groups.index, "train")
    for _, part in groups.sort_values("order").groupby("class"):
        total = part["size"].sum()
        room = {"test": wanted(total, data.test), "validation": wanted(total, data.validation)}
        for row, size in part["size"].items():
            for name in room:
                if size / 2 <= room[name]:  # at least half of it fits
                    placed[row] = name
                    room[name] -= size
                    break
    split = manifest["group"].map(placed).to_numpy(dtype=str)
    for name, missing in _gaps(manifest, split):
        different = manifest.loc[manifest["class"] == name, "group"].nunique()
        needed = next(n for n in range(3, 10**6) if n - wanted(n, data.test) - wanted(n, data.validation) >= 1)
        raise UserError(
            f"class {name!r} has {(manifest['class'] == name).sum()} images, {different} of them different, which is "
            f"too few for it to be in {missing}: it needs at least {needed} different ones at data.validation "
            f"{data.validation} and data.test {data.test}."
        )
    return split


def wanted(count, fraction):
    """The number of images, at least one, that `fraction` makes out of `count`; halves are rounded up."""
    return max(1, math.floor(count * fraction + 0.5))


def is_divided(images):
    """Whether the folder came divided: its sub-folders are train, validation (or val) and test, and nothing else."""
    return {GIVEN.get(image.class_name) for image in images} == set(SPLITS)


def below_splits(images):
    """Returns the images of a folder that came divided with the folders below train, validation and test as classes."""
    return [
        dataclasses.replace(image, class_name=image.path.split("/")[1])
        for image in images
        if image.path.count("/") >= 2  # a file beside the class folders belongs to no class
    ]


def given(manifest):
    """Returns the splits that a folder came divided into: str array [N].

    Args:
        manifest: N rows with path, class and group.

    Raises:
        UserError: near-duplicates lie in different splits; a class is missing from one; or there are fewer than two classes.
    """
    split = manifest["path"].str.split("/").str[0].map(GIVEN).to_numpy(dtype=str)
    sides = manifest.assign(split=split).groupby("group")
    leaks = [" = ".join(map(printable, group["path"])) for _, group in sides if group["split"].nunique() > 1]
    if leaks:
        raise UserError(
            f"{len(leaks)} images, or near-duplicates of them, are in more than one of the folders train, validation and "
            f"test; keep one of each, or set data.split to random: {enumeration(leaks)}"
        )
    for name, missing in _gaps(manifest, split):
        raise UserError(f"class {name!r} has no images in {missing}. Add some, or set data.split to random.")
    if manifest["class"].nunique() < 2:
        raise UserError("the folders train, validation and test need at least two sub-folders each, one per class.")
    return split


def drop_label_conflicts(manifest, label_conflict):
    """Finds identical images under different classes.

    Args:
        manifest: N rows with path, class and pixels, the hash of the packed pixels.
        label_conflict: what to do about them: "error", or "drop" them all.

    Returns:
        DataFrame: the manifest without them.

    Raises:
        UserError: there are some and they are not to be dropped; or dropping them leaves a class empty.
    """
    conflict = manifest.groupby("pixels")["class"].transform("nunique") > 1
    if label_conflict == "error" and conflict.any():
        same = [
            " = ".join(map(printable, paths)) for _, paths in manifest[conflict].groupby("pixels", sort=False)["path"]
        ]
        raise UserError(
            f"{len(same)} images are in more than one class; keep each in one, or set data.label_conflict to drop: "
            f"{enumeration(same)}"
        )
    settled = manifest[~conflict].copy()
    for name in sorted(set(manifest["class"]) - set(settled["class"])):
        raise UserError(f"every image of class {name!r} is in another class as well; keep each in one.")
    return settled


def _gaps(manifest, split):
    """Yields (class name, "train", "validation" or "test") where a class has no image in a split."""
    for name, rows in manifest.groupby("class").indices.items():
        for missing in sorted(set(SPLITS) - set(split[rows])):
            yield name, missing
