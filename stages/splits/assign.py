"""Assignment of images to train, validation and test, by group and class."""

import hashlib
import itertools
import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.cli import UserError, counted, enumeration
from stages.common.dataset import SPLITS
from stages.splits import blank_images, cleaning, stratify
from stages.splits.pack import Manifest

ANEW = "set data.split to random, which divides the images of all splits anew, with the same classes"  # for errors
SplitNames: TypeAlias = np.ndarray  # str [N]: train, validation or test


def to_splits(manifest: Manifest, data: params.Data, seed: int, given: Manifest | None = None) -> SplitNames:
    """Assigns each image to its given split, cutting missing ones from train; without given splits, divides them anew.

    Where labels were corrected, the images that would be used without corrections are `given`, with their classes as
    given: these are divided, so that corrections move no image. Others go where their group is, or else into train.

    Raises:
        UserError: a class has too few different images to be in every split, or is missing from a given one; or
            identical files are in two given splits.
    """
    if given is None:
        split = place(manifest, data, seed)
    else:
        placed = place(given, data, seed)
        split, lacking = _follow(manifest, given, placed), _lacking(given, placed)
    if manifest["split"].any():
        _require_no_copies(manifest, split, data)
    if gaps := _lacking(manifest, split):
        if given is not None and (by_corrections := {x: gaps[x] for x in gaps if gaps[x] != lacking.get(x)}):
            raise UserError(_missing_by_corrections(manifest, by_corrections, data))
        raise UserError((_missing_from_given if manifest["split"].any() else _too_small)(manifest, gaps, data))
    return split


def place(manifest: Manifest, data: params.Data, seed: int) -> SplitNames:
    """As to_splits, but whether all classes are in all splits is not checked."""
    fractions = {"test": data.test, "validation": data.validation}
    if manifest["split"].any():
        if data.fold != "none":
            no_fold = f"no fold {data.fold}: {ANEW}, or data.fold to none"
            raise UserError(f"the images come with splits, so there is {no_fold}.")
        split = manifest["split"].to_numpy(dtype="<U10")
        if "train" not in split:
            raise UserError(
                "none of the images that can be used is given to train. Give it some, or set data.split to random, "
                "which divides all images anew." + _advise_on_near_duplicates(manifest, manifest, data)
            )
        fractions = {name: fraction for name, fraction in fractions.items() if name not in split}
    elif data.fold == "none":
        split = np.full(len(manifest), "train", dtype="<U10")
    else:
        fold, count = map(int, data.fold.split("/"))
        folds = stratify.to_folds(manifest, _in_order(manifest, seed).index, count)
        split = np.where(manifest["group"].map(folds) == fold, "test", "train").astype("<U10")
        fractions = {"validation": data.validation * count / (count - 1)}  # as many images as without folds
    rows = split == "train"
    split[rows] = divide(manifest[rows], fractions, seed)
    return split


def _follow(manifest: Manifest, given: Manifest, placed: SplitNames) -> SplitNames:
    """Returns the splits of images: those `placed`, of the same index in `given`, or else that of the group or train.

    Of a group that crosses given splits, the images of the same given split count.
    """
    keys = ["group", "split"]
    of_group = given[keys].assign(placed=placed).drop_duplicates(keys)
    followed = manifest[keys].merge(of_group, "left", keys)["placed"].set_axis(manifest.index)
    split = pd.Series(placed, given.index).reindex(manifest.index).fillna(followed)
    return split.fillna(manifest["split"].replace("", "train")).to_numpy(dtype="<U10")


def _lacking(manifest: Manifest, split: SplitNames) -> dict[str, str]:
    """Returns the classes that are not in all splits, each with the first split by name that it is not in."""
    classes = manifest.groupby("class").indices.items()
    return {name: min(lacks) for name, places in classes if (lacks := set(SPLITS) - set(split[places]))}


def divide(manifest: Manifest, fractions: Mapping[str, float], seed: int) -> SplitNames:
    """Divides images at random, class by class; a group stays together.

    A group of near-duplicates counts for the class of its first image. The groups of a class are put in an order that
    is a hash of the seed and the group's content, and fill the splits of `fractions` one after the other, then train.
    The order depends neither on names nor on what else is in the folder, so that a few files more or fewer move other
    images only at the borders between the splits. If the user has joined images to groups, these are stratified
    (stages/splits/stratify.py).
    """
    groups = _in_order(manifest, seed)
    is_joined = (manifest.groupby("group")["duplicates"].nunique() > 1).any()
    placed = stratify.to_splits(manifest, groups.index, fractions) if is_joined else _fill(groups, fractions)
    return manifest["group"].map(placed).to_numpy(dtype=str)


def _in_order(manifest: Manifest, seed: int) -> pd.DataFrame:
    """Returns the groups with class and size, in the order of a hash of the seed and their content."""
    of_group = manifest.groupby("group")
    order = [hashlib.sha256(f"{seed} {content}".encode()).digest() for content in of_group["sha256"].min()]
    groups = pd.DataFrame({"class": of_group["class"].first(), "size": of_group.size(), "order": order})
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


def _missing_from_given(manifest: Manifest, gaps: dict[str, str], data: params.Data) -> str:
    """Says which classes lack which given split, and what to do; `gaps` is from class to split."""
    named = [f"{name!r} has no images in {missing}" for name, missing in gaps.items()]
    return (
        f"of the given splits, {len(named)} {'lacks a class' if len(named) == 1 else 'places lack a class'}: "
        f"{enumeration(named)}. Add some, or leave the class out, or {ANEW}."
        + _advise_on_near_duplicates(manifest[manifest["class"].isin(list(gaps))], manifest, data)
    )


def _missing_by_corrections(manifest: Manifest, gaps: dict[str, str], data: params.Data) -> str:
    """Says which classes lack a split since labels were corrected, and what to do; `gaps` is from class to split."""
    counts = manifest["class"].value_counts()
    named = [f"{name!r} ({counted(counts[name], 'image')}) has none in {missing}" for name, missing in gaps.items()]
    return (
        f"of the classes that {data.corrections} leaves, {enumeration(named)}: corrections move no image to another "
        f"split. Add images to {data.images} that are given this class, which are divided over all splits, or take "
        "corrections back."
    )


def _too_small(manifest: Manifest, gaps: dict[str, str], data: params.Data) -> str:
    """Says that the first class of `gaps`, from class to split, has too few images, and what to do."""
    name, missing = next(iter(gaps.items()))
    of_class = manifest[manifest["class"] == name]
    different, groups = of_class["duplicates"].nunique(), of_class["group"].nunique()
    joined, copies = groups < different, len(of_class) - different
    count = f" {copies} of them near-duplicates of others," if copies else ""
    if joined:
        count = f" in {groups} of your groups, which stay whole,"
    advice = f"add images, or take fewer folds than data.fold {data.fold}."
    if data.fold == "none":
        needed = next(n for n in itertools.count(3) if n > wanted(n, data.test) + wanted(n, data.validation))
        advice = (
            f"it needs at least {needed} {'groups' if joined else 'different ones'} at data.validation "
            f"{data.validation} and data.test {data.test}."
        )
    return (
        f"class {name!r} has {len(of_class)} images,{count} which is too few for it to be in {missing}: {advice}"
        + _advise_on_near_duplicates(of_class, manifest, data)
    )


def _advise_on_near_duplicates(images: Manifest, manifest: Manifest, data: params.Data) -> str:
    """Returns what to do where images are blank or taken for near-duplicates, if that may be why there are too few."""
    blank, seen = blank_images.advice(images, manifest), images[~images["blank"]]
    if data.near_duplicates == "ignore" or data.near_duplicates == "keep" and seen["duplicates"].is_unique:
        return blank
    alike = "If images are alike by nature, those of a fixed camera, say, and no copies"
    return f"{blank} {alike}, set data.near_duplicates to ignore."


def _require_no_copies(manifest: Manifest, split: SplitNames, data: params.Data) -> None:
    crossing = manifest.assign(split=split).groupby("sha256")["split"].transform("nunique") > 1
    if copies := cleaning.list_identical(manifest[crossing], "sha256"):
        drop = ", or set data.near_duplicates to drop, which uses the one in test before those in validation and train"
        raise UserError(
            f"{len(copies)} identical files are in more than one of the given splits; delete all but one of each"
            f"{drop if data.near_duplicates == 'keep' else ''}: {enumeration(copies)}"
        )
