"""Splitting of images into train, validation and test, by group and class, and the checks before it."""

import dataclasses
import hashlib
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.images.find import ImageFile

FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # folder: split


def assign(manifest: pd.DataFrame, data: params.Data, seed: int) -> np.ndarray:
    """Assigns each image to a split, class by class.

    A group of near-duplicates stays together, and counts for the class of its first image. The groups of a class are
    put in an order that is a hash of the seed and the group's content, and fill test, then validation, then train. The
    order depends neither on names nor on what else is in the folder, so that a few files more or fewer move other
    images only at the borders between the splits.

    Args:
        manifest: N rows with path, class, sha256 and group, sorted by path.
        data: the group `data` of params.yaml.
        seed: of the order of groups.

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
    gap = _find_gap(manifest, split)
    if gap:
        name, missing = gap
        different = manifest.loc[manifest["class"] == name, "group"].nunique()
        needed = next(n for n in range(3, 10**6) if n - wanted(n, data.test) - wanted(n, data.validation) >= 1)
        raise UserError(
            f"class {name!r} has {(manifest['class'] == name).sum()} images, {different} of them different, which is "
            f"too few for it to be in {missing}: it needs at least {needed} different ones at data.validation "
            f"{data.validation} and data.test {data.test}."
        )
    return split


def wanted(count: int, fraction: float) -> int:
    """Returns the number of images, at least one, that `fraction` makes out of `count`; halves are rounded up."""
    return max(1, math.floor(count * fraction + 0.5))


def is_predefined(images: Iterable[ImageFile]) -> bool:
    """Tells whether a folder comes split: its sub-folders are train, validation (or val) and test, and nothing else."""
    return {FOLDERS.get(image.class_name) for image in images} == set(SPLITS)


def predefined_classes(images: Iterable[ImageFile]) -> list[ImageFile]:
    """Returns the images of a folder that comes split, with the folders below train, validation and test as classes."""
    return [
        dataclasses.replace(image, class_name=image.path.split("/")[1])
        for image in images
        if image.path.count("/") >= 2  # a file beside the class folders belongs to no class
    ]


def predefined(manifest: pd.DataFrame) -> np.ndarray:
    """Assigns each image of a folder that comes split to the split of its path.

    Args:
        manifest: N rows with path, class and group.

    Returns:
        str array [N]: "train", "validation" or "test".

    Raises:
        UserError: near-duplicates lie in different splits; a class is missing from one; or there are fewer than two
            classes.
    """
    split = manifest["path"].str.split("/").str[0].map(FOLDERS).to_numpy(dtype=str)
    groups = manifest.assign(split=split).groupby("group")
    leaks = [" = ".join(map(printable, group["path"])) for _, group in groups if group["split"].nunique() > 1]
    if leaks:
        raise UserError(
            f"{len(leaks)} images, or near-duplicates of them, are in more than one of the folders train, validation "
            f"and test; keep one of each, or set data.split to random: {enumeration(leaks)}"
        )
    gap = _find_gap(manifest, split)
    if gap:
        name, missing = gap
        raise UserError(f"class {name!r} has no images in {missing}. Add some, or set data.split to random.")
    if manifest["class"].nunique() < 2:
        raise UserError("the folders train, validation and test need at least two sub-folders each, one per class.")
    return split


def drop_label_conflicts(manifest: pd.DataFrame, on_label_conflict: str) -> pd.DataFrame:
    """Drops identical images under different classes.

    Args:
        manifest: N rows with path, class and pixels, the hash of the packed pixels.
        on_label_conflict: what to do about them: "error", or "drop" them all.

    Returns:
        DataFrame: the manifest without them.

    Raises:
        UserError: there are some and they are not to be dropped; or dropping them leaves a class empty.
    """
    conflict = manifest.groupby("pixels")["class"].transform("nunique") > 1
    if on_label_conflict == "error" and conflict.any():
        same = [
            " = ".join(map(printable, paths)) for _, paths in manifest[conflict].groupby("pixels", sort=False)["path"]
        ]
        raise UserError(
            f"{len(same)} images are in more than one class; keep each in one, or set data.on_label_conflict to drop: "
            f"{enumeration(same)}"
        )
    remaining = manifest[~conflict].copy()
    empty = sorted(set(manifest["class"]) - set(remaining["class"]))
    if empty:
        raise UserError(f"every image of class {empty[0]!r} is in another class as well; keep each in one.")
    return remaining


def _find_gap(manifest: pd.DataFrame, split: np.ndarray) -> tuple[str, str] | None:
    """Returns the first class without an image in some split, and that split; None if every class is in every split."""
    for name, rows in manifest.groupby("class").indices.items():
        missing = set(SPLITS) - set(split[rows])
        if missing:
            return name, min(missing)
    return None
