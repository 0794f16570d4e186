"""Cleaning of the data: images that cannot be read, contradict each other or are near-duplicates are not used."""

import pandas as pd

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.splits.pack import Manifest


def separate_unreadable(table: Manifest, data: params.Data) -> tuple[Manifest, pd.DataFrame]:
    """Splits the table of pack.pack_images into the images that can be read, and path and reason of the others.

    Raises:
        UserError: images cannot be read, and are not to be skipped; or skipping them leaves a class empty.
    """
    bad = table["problem"] != ""
    if data.on_unreadable == "error" and bad.any():
        named = [f"{printable(f'{data.images}/{row.path}')} ({row.problem})" for row in table[bad].itertuples()]
        raise UserError(
            f"{bad.sum()} of {len(table)} images cannot be read; replace or remove them, or set data.on_unreadable to "
            f"skip, which leaves them out and lists them: {enumeration(named)}"
        )
    if empty := sorted(set(table["class"]) - {"", *table["class"][~bad]}):
        what = f"no image of class {empty[0]!r} can be read"
        raise UserError(f"{data.images}: {what}. Replace them, or take the class out.")
    unreadable = table.loc[bad, ["path", "problem"]].rename(columns={"problem": "reason"})
    return table[~bad].drop(columns="problem"), unreadable


def drop_label_conflicts(manifest: Manifest, on_label_conflict: str) -> Manifest:
    """Drops images with the same pixels under different classes; or refuses them, if on_label_conflict is "error".

    "drop" drops all of them, "majority" those of another class than most of them have, if one has most. Blank images
    have the same pixels whatever they show, and are in no conflict.

    Raises:
        UserError: there are such images and they are not to be dropped; or dropping them leaves a class empty.
    """
    conflict = label_conflicts(manifest, on_label_conflict)
    if on_label_conflict == "error" and conflict.any():
        same = list_identical(manifest[conflict], "pixel_hash")
        raise UserError(
            f"{len(same)} images are in more than one class: one class per image; several labels are not supported. "
            f"Keep each in one, or set data.on_label_conflict to drop or majority: {enumeration(same)}"
        )
    remaining = manifest[~conflict].copy()
    if empty := sorted(set(manifest["class"]) - set(remaining["class"])):
        raise UserError(f"every image of class {empty[0]!r} is in another class as well; keep each in one.")
    return remaining


def label_conflicts(manifest: Manifest, on_label_conflict: str) -> pd.Series:
    """Tells which images drop_label_conflicts drops or refuses: bool, with the index of the manifest."""
    content = manifest["pixel_hash"]
    conflict = ~manifest["blank"] & (manifest.groupby(content)["class"].transform("nunique") > 1)
    if on_label_conflict == "majority":
        votes = manifest[conflict].groupby([content[conflict], "class"]).size()
        most = votes.groupby(level=0).transform("max") == votes
        decided = most & (most.groupby(level=0).transform("sum") == 1)
        kept = pd.MultiIndex.from_arrays([content, manifest["class"]]).isin(decided.index[decided])
        conflict &= ~kept
    return conflict


def used_as_given(manifest: Manifest, data: params.Data) -> Manifest:
    """Returns the images that are used if no label is corrected; none is refused, because corrections may resolve it.

    They are what is divided into splits, whatever corrections say: stages/splits/assign.py.
    """
    given = manifest[manifest["class"] != ""]
    if data.on_label_conflict != "error":
        given = given[~label_conflicts(given, data.on_label_conflict)]
    return drop_near_duplicates(given) if data.near_duplicates == "drop" else given


def drop_near_duplicates(manifest: Manifest) -> Manifest:
    """Keeps one of the near-duplicates in each class: of given splits, the one in test, else validation, else train."""
    rank = manifest["split"].map({name: -place for place, name in enumerate(SPLITS)}).fillna(0)
    used = manifest.loc[rank.sort_values(kind="stable").index].drop_duplicates(["duplicates", "class"]).index
    return manifest[manifest.index.isin(used)]


def list_identical(manifest: Manifest, column: str) -> list[str]:
    """Joins the paths of images with the same hash for an error's text: the first few, and how many more there are."""
    lines = []
    for _, paths in manifest.groupby(column, sort=False)["path"]:
        first = " = ".join(map(printable, paths[:4]))
        lines.append(first if len(paths) <= 4 else f"{first} = {len(paths) - 4} more")
    return lines
