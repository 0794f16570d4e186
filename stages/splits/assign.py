"""Splitting of images into train, validation and test, by group and class, and the checks before it."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.splits import stratify


def assign(manifest: pd.DataFrame, data: params.Data, seed: int) -> np.ndarray:
    """Assigns each image to a split: the given one if there is one, and a missing split is cut from train.

    Args:
        manifest: N rows with path, class, sha256, group, duplicates and split, the given one or empty, sorted by path.
        data: the group `data` of params.yaml.
        seed: of the order of groups.

    Returns:
        str array [N]: "train", "validation" or "test".

    Raises:
        UserError: a class has too few different images to be in every split, or is missing from a given one; or
            identical files are in two given splits.
    """
    given = manifest["split"].to_numpy(dtype=str)
    if data.fold != "none":
        if given.any():
            raise UserError(
                f"the images come with splits, so there is no fold {data.fold}: set data.split to random, which "
                "divides the images of all splits anew, with the same classes, or data.fold to none."
            )
        split = _cut_fold(manifest, data, seed)
        _require_every_class(manifest, split, data)
        return split
    fractions = {"test": data.test, "validation": data.validation}
    if not given.any():
        split = divide(manifest, fractions, seed)
        _require_every_class(manifest, split, data)
        return split
    _require_training_images(manifest, data)
    missing = {name: fraction for name, fraction in fractions.items() if name not in given}
    split = given.astype("<U10")
    rows = given == "train"
    split[rows] = divide(manifest[rows], missing, seed)
    _require_no_copies(manifest, split, data)
    gaps = _find_gaps(manifest, split)
    if gaps:
        named = [f"{name!r} has no images in {missing}" for name, missing in gaps]
        raise UserError(
            f"of the given splits, {len(named)} {'lacks a class' if len(named) == 1 else 'places lack a class'}: "
            f"{enumeration(named)}. Add some, or leave the class out, or set data.split to random, which divides the "
            "images of all splits anew, with the same classes."
            + _alike(manifest[manifest["class"].isin([name for name, _ in gaps])], data)
        )
    return split


def divide(manifest: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> np.ndarray:
    """Divides images at random, class by class; a group stays together.

    A group of near-duplicates counts for the class of its first image. The groups of a class are put in an order that
    is a hash of the seed and the group's content, and fill test, then validation, then train. The order depends neither
    on names nor on what else is in the folder, so that a few files more or fewer move other images only at the borders
    between the splits. If the user has joined images to groups, these are stratified (stages/splits/stratify.py).

    Args:
        manifest: N rows with class, sha256, group and duplicates, sorted by path.
        fractions: of the images in splits other than train, in the order in which they are filled.
        seed: of the order of groups.

    Returns:
        str array [N]: "train", or a name in `fractions`.
    """
    groups = _in_order(manifest, seed)
    if (manifest.groupby("group")["duplicates"].nunique() > 1).any():
        placed = stratify.assign(manifest, groups.index, fractions)
    else:
        placed = _fill(groups, fractions)
    return manifest["group"].map(placed).to_numpy(dtype=str)


def _cut_fold(manifest: pd.DataFrame, data: params.Data, seed: int) -> np.ndarray:
    """Returns the split of each image, str [N]: a fold is test; validation, as large as ever, is cut from the rest."""
    fold, count = map(int, data.fold.split("/"))
    folds = stratify.folds(manifest, _in_order(manifest, seed).index, count)
    split = np.where(manifest["group"].map(folds) == fold, "test", "train").astype("<U10")
    rows = split == "train"
    split[rows] = divide(manifest[rows], {"validation": data.validation * count / (count - 1)}, seed)
    return split


def _in_order(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns the groups with class and size, in the order of a hash of the seed and their content."""
    groups = manifest.groupby("group").agg(
        **{"class": ("class", "first"), "size": ("class", "size"), "content": ("sha256", "min")}
    )
    groups["order"] = [hashlib.sha256(f"{seed} {content}".encode()).digest() for content in groups["content"]]
    return groups.sort_values("order")


def _fill(groups: pd.DataFrame, fractions: Mapping[str, float]) -> dict[int, str]:
    """Assigns groups, in their order, with class and size, to splits class by class: from group to split."""
    placed = dict.fromkeys(groups.index, "train")
    for _, part in groups.groupby("class"):
        total = part["size"].sum()
        room = {name: wanted(total, fraction) for name, fraction in fractions.items()}
        for row, size in part["size"].items():
            for name in room:
                if size / 2 <= room[name]:  # at least half of it fits
                    placed[row] = name
                    room[name] -= size
                    break
    return placed


def wanted(count: int, fraction: float) -> int:
    """Returns the number of images, at least one, that `fraction` makes out of `count`; halves are rounded up."""
    return max(1, math.floor(count * fraction + 0.5))


def _require_every_class(manifest: pd.DataFrame, split: np.ndarray, data: params.Data) -> None:
    gaps = _find_gaps(manifest, split)
    if not gaps:
        return
    name, missing = gaps[0]
    of_class = manifest[manifest["class"] == name]
    different, groups = of_class["duplicates"].nunique(), of_class["group"].nunique()
    joined = groups < different
    if data.fold == "none":
        needed = next(n for n in range(3, 10**6) if n - wanted(n, data.test) - wanted(n, data.validation) >= 1)
        advice = (
            f"it needs at least {needed} {'groups' if joined else 'different ones'} at data.validation "
            f"{data.validation} and data.test {data.test}."
        )
    else:
        advice = f"add images, or take fewer folds than data.fold {data.fold}."
    advice += _alike(of_class, data)
    count = f"in {groups} of your groups, which stay whole" if joined else f"{different} of them different"
    raise UserError(
        f"class {name!r} has {len(of_class)} images, {count}, which is too few for it to be in {missing}: {advice}"
    )


def _alike(images: pd.DataFrame, data: params.Data) -> str:
    """Returns what to do where images are taken for near-duplicates, if that may be why there are too few."""
    joined = data.near_duplicates == "keep" and images["duplicates"].nunique() < len(images)
    if not joined and data.near_duplicates != "drop":
        return ""
    return (
        " If images are alike by nature, those of a fixed camera, say, and no copies, set data.near_duplicates to "
        "ignore."
    )


def _require_training_images(manifest: pd.DataFrame, data: params.Data) -> None:
    if "train" not in set(manifest["split"]):
        raise UserError(
            "none of the images that can be used is given to train. Give it some, or set data.split to random, which "
            "divides all images anew." + _alike(manifest, data)
        )


def _require_no_copies(manifest: pd.DataFrame, split: np.ndarray, data: params.Data) -> None:
    crossing = manifest[manifest.assign(split=split).groupby("sha256")["split"].transform("nunique") > 1]
    copies = [_equation(paths) for _, paths in crossing.groupby("sha256", sort=False)["path"]]
    if copies:
        drop = ", or set data.near_duplicates to drop, which uses the one in test before those in validation and train"
        raise UserError(
            f"{len(copies)} identical files are in more than one of the given splits; delete all but one of each"
            f"{drop if data.near_duplicates == 'keep' else ''}: {enumeration(copies)}"
        )


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
        same = [_equation(paths) for _, paths in manifest[conflict].groupby("pixels", sort=False)["path"]]
        raise UserError(
            f"{len(same)} images are in more than one class; keep each in one, or set data.on_label_conflict to drop: "
            f"{enumeration(same)}"
        )
    remaining = manifest[~conflict].copy()
    empty = sorted(set(manifest["class"]) - set(remaining["class"]))
    if empty:
        raise UserError(f"every image of class {empty[0]!r} is in another class as well; keep each in one.")
    return remaining


def _equation(paths: pd.Series) -> str:
    """Joins the paths of identical images for an error's text: the first few, and how many more there are."""
    named = [printable(path) for path in paths[:4]]
    return " = ".join([*named, *([f"{len(paths) - 4} more"] if len(paths) > 4 else [])])


def _find_gaps(manifest: pd.DataFrame, split: np.ndarray) -> list[tuple[str, str]]:
    """Returns the classes without an image in some split, each with the first such split."""
    classes = manifest.groupby("class").indices.items()
    return [(name, min(missing)) for name, rows in classes if (missing := set(SPLITS) - set(split[rows]))]
