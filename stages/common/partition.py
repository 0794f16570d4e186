"""Which picture goes to which split, and what stands in the way: leaks, label conflicts, classes that are too small."""

import hashlib
import math

import numpy as np

from stages.common.command import UserError

SPLITS = ("train", "validation", "test")


def assign(manifest, validation, test, seed):
    """Assigns each picture to a split, class by class.

    A group of near-copies stays together, on the side of the class that its first picture has. The groups of a class are
    put in an order that is a hash of the seed and the group's content: it depends neither on names nor on what else is
    in the folder, so that a few files more or fewer move other pictures only at the borders between the splits.

    Args:
        manifest: N rows with path, class, sha256 and group, sorted by path.
        validation, test: the fractions.
        seed: whole number.

    Returns:
        str array [N]: "train", "validation" or "test".
    """
    groups = manifest.groupby("group").agg(
        **{"class": ("class", "first"), "size": ("class", "size"), "content": ("sha256", "min")}
    )
    groups["order"] = [hashlib.sha256(f"{seed} {content}".encode()).digest() for content in groups["content"]]
    groups["split"] = "train"
    for _, group in groups.sort_values("order").groupby("class"):
        total = group["size"].sum()
        tests, validations = wanted(total, test), wanted(total, validation)
        middle = group["size"].cumsum() - group["size"] / 2
        groups.loc[group.index[middle < tests + validations], "split"] = "validation"
        groups.loc[group.index[middle < tests], "split"] = "test"
    return groups["split"].reindex(manifest["group"]).to_numpy(dtype=str)


def wanted(count, fraction):
    """The number of pictures, at least one, that `fraction` makes out of `count`; halves are rounded up."""
    return max(1, math.floor(count * fraction + 0.5))


def check_sizes(manifest, split, validation, test):
    """Raises UserError if a class is missing from a split; it says how many different pictures the class needs."""
    needed = next(n for n in range(3, 10**6) if n - wanted(n, test) - wanted(n, validation) >= 1)
    for name, rows in manifest.groupby("class").indices.items():
        if set(split[rows]) != set(SPLITS):
            different = manifest["group"].iloc[rows].nunique()
            raise UserError(
                f"class {name!r} has {len(rows)} pictures, {different} of them different, which is too few for it to be "
                f"in every split: it needs at least {needed} different ones at data.validation {validation} and "
                f"data.test {test}."
            )


def check_leaks(manifest, split):
    """Raises UserError if near-copies lie in different splits of a folder that came divided; it names them."""
    sides = manifest.assign(split=split).groupby("group")
    leaks = [" = ".join(group["path"]) for _, group in sides if group["split"].nunique() > 1]
    if leaks:
        raise UserError(
            f"{len(leaks)} pictures, or near-copies of them, are in more than one of the folders train, validation and "
            f"test; keep one of each, or set data.split to random: {listed(leaks)}"
        )


def label_conflicts(manifest):
    """Finds identical pictures under different classes.

    Args:
        manifest: N rows with path, class and pixels_sha256, the hash of the packed pixels.

    Returns:
        list of lists of row numbers: the pictures of one conflict each.
    """
    return [
        rows.tolist()
        for rows in manifest.groupby("pixels_sha256").indices.values()
        if len(rows) > 1 and manifest["class"].iloc[rows].nunique() > 1
    ]


def listed(texts, most=20):
    """Joins texts for an error line: the first `most` and how many more."""
    more = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
