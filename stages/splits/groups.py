"""Groups of images that stay in one split: near-duplicates, and what the user says belongs together."""

import re

import numpy as np
import pandas as pd

from stages.common import dataset, params
from stages.common.arrays import Groups
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.labels import pattern
from stages.labels.files import ImageFile
from stages.splits import near_duplicates
from stages.splits.pack import Manifest

EXTENSIONS = r"jpe?g|png|gif|bmp|tiff?|webp|heic|heif|avif|jp2|ppm|pgm"
# The name of an image in those of its versions, as Roboflow exports them: NAME_jpg.rf.HASH.jpg.
ROBOFLOW = re.compile(rf"([^/]+)_(?:{EXTENSIONS})\.rf\.[0-9a-z]{{8,}}\.\w+$", re.IGNORECASE)


# Columns while `split` runs: what data.group_pattern finds, and the image that Roboflow made a version of; or empty.
KEYS = ("pattern_group", "roboflow_image")


def add_columns(manifest: Manifest, images: list[ImageFile], data: params.Data) -> Manifest:
    """Adds group, the given split, KEYS and the further columns of the table of labels, from images of the same index.

    Raises:
        UserError: data.group_pattern fits no path, or takes too long.
    """
    found = [images[row] for row in manifest.index]
    of_table = pd.Series([image.group for image in found], manifest.index, dtype=object)
    matches = pd.Series("", manifest.index, dtype=object)
    if data.group_pattern:
        matches[:] = pattern.find("data.group_pattern", data.group_pattern, manifest["path"])
        if not matches.any():
            example = printable(manifest["path"].iloc[0])
            raise UserError(
                f"data.group_pattern {printable(data.group_pattern)} fits no path, such as {example}. In "
                r"patient7/scan_1.jpg, (patient\d+) finds the group patient7."
            )
    keys = [of_table, matches, _roboflow(manifest)]
    duplicates = manifest["duplicates"]
    group = join(duplicates, *keys) if any(key.any() for key in keys) else duplicates
    splits = [image.split for image in found]
    manifest = manifest.drop(columns="duplicates").assign(group=group, split=splits, duplicates=duplicates)
    manifest = manifest.assign(**dict(zip(KEYS, keys[1:], strict=True)))
    return manifest.join(pd.DataFrame([image.columns for image in found], manifest.index))


def join(*keys: pd.Series) -> Groups:
    """Groups images that have the same value of any key, and those that are joined to these; an empty text joins none.

    Groups are numbered from 0 in order of first appearance.
    """
    count = nodes = len(keys[0])
    edges = []
    for key in keys:
        values = pd.factorize(key.mask(key == ""))[0]  # -1 for an empty text
        rows = np.flatnonzero(values >= 0)
        edges.append([rows, nodes + values[rows]])
        nodes += values.max() + 1
    one, other = np.hstack(edges)
    return pd.factorize(near_duplicates.connect(one, other, nodes)[:count])[0]


def by_pattern(paths: pd.Series, pattern: str) -> pd.Series:
    """Returns what the one group of a regular expression finds in each path, empty where it does not fit: str [N]."""
    search = re.compile(pattern).search
    return paths.map(lambda path: match[1] or "" if (match := search(path)) else "")


def _roboflow(manifest: Manifest) -> pd.Series:
    """Returns class and name of the image that Roboflow made each version of, empty for other images: str [N]."""
    names = manifest["path"].map(lambda path: match[1] if (match := ROBOFLOW.search(path)) else "")
    return (manifest["class"] + "/" + names).mask(names == "", "")


def list_near_duplicates(manifest: Manifest, split: pd.Series) -> pd.DataFrame:
    """Lists all images that have near-duplicates, set by set; those that `split` lacks were dropped.

    The columns are duplicates, path, class, split (or "dropped"); and classes_mix and splits_mix, 1 for all images of a
    set with several classes or splits.
    """
    rows = manifest[["duplicates", "path", "class"]].assign(split=split)
    rows = rows[rows["duplicates"].duplicated(keep=False)].sort_values(["duplicates", "path"])
    mix = (rows.groupby("duplicates")[["class", "split"]].transform("nunique") > 1).astype(int)
    return rows.fillna({"split": "dropped"}).assign(classes_mix=mix["class"], splits_mix=mix["split"])


def notes(listed: pd.DataFrame, manifest: Manifest, split: pd.Series, data: params.Data) -> list[str]:
    """Says, a line each, what the user should know about groups: where classes mix, where they cross given splits.

    `listed` is the table of list_near_duplicates; `split` has the index of the manifest.
    """
    lines = []
    blank = manifest.loc[manifest["blank"], "duplicates"]  # which have a line of their own
    texts = {
        "classes_mix": "hold images of more than one class: wrong labels, or images that are alike by nature",
        "splits_mix": "cross the splits, which are taken as given: the score may flatter",
    }
    for column, text in texts.items():
        flagged = listed[(listed[column] == 1) & ~listed["duplicates"].isin(blank)]
        if len(flagged):
            first = flagged.loc[flagged["duplicates"] == flagged["duplicates"].iloc[0], "path"]
            lines.append(
                f"WARNING: {flagged['duplicates'].nunique()} groups of near-duplicates {text}. The first: "
                f"{printable(first.iloc[0])} = {printable(first.iloc[-1])}; all: data/splits/near_duplicates.csv "
                f"({column}). If they are different images, set data.near_duplicates to ignore."
            )
    matches, versions = (manifest[key] for key in KEYS)
    if data.group_pattern and (alone := matches == "").any():
        lines.append(
            f"data.group_pattern does not fit {alone.sum()} of {len(manifest)} paths, such as "
            f"{printable(manifest['path'][alone].iloc[0])}: it puts these images in no group."
        )
    if (several := versions[versions != ""].value_counts().loc[lambda counts: counts > 1]).any():
        lines.append(
            f"{several.sum()} images are versions of {len(several)}, as Roboflow names them (NAME_jpg.rf.HASH): "
            "the versions of each are one group."
        )
    if keyed := _own(manifest, data):
        lines.append(keyed)
    joined = manifest.groupby("group")["duplicates"].nunique() > 1
    if joined.any() and not manifest["split"].any():
        lines.append(fractions_off(manifest, split, data))
    crossing = joined & (split.groupby(manifest["group"]).nunique() > 1)
    named = split.groupby(versions.mask(versions == "")).transform("nunique") > 1
    is_version = named.groupby(manifest["group"]).any()
    for text, found in {
        "of your groups": crossing & ~is_version,
        "of the groups that Roboflow's names make": crossing & is_version,
    }.items():
        if found.any():
            examples = manifest.groupby("group")["path"].first()[found].map(printable)
            lines.append(
                f"WARNING: {found.sum()} {text} cross the splits, which are taken as given: the score may flatter. "
                f"Images of them: {enumeration(list(examples), 3)}."
            )
    return lines


def _own(manifest: Manifest, data: params.Data) -> str:
    """Says in a line how many of the user's own groups hold images of several classes, or nothing."""
    keys = {"the table's groups": manifest[dataset.GROUP_TEXT] if dataset.GROUP_TEXT in manifest else None}
    if data.group_pattern:
        keys["the groups of data.group_pattern"] = manifest[KEYS[0]]
    found = []
    for name, key in keys.items():
        if key is None:
            continue
        several = manifest["class"].groupby(key[key != ""]).nunique() > 1
        if several.any():
            example = printable(several.idxmax())
            found.append(
                f"{several.sum()} of {name} ({len(several)}) hold images of several classes, such as {example}"
            )
    return "; ".join(found) + "." if found else ""


def fractions_off(manifest: Manifest, split: pd.Series, data: params.Data) -> str:
    """Says in a line what fractions of the images are in the splits, and which class is farthest off."""
    test = data.test_fraction
    wanted = pd.Series({"train": 1 - data.validation - test, "validation": data.validation, "test": test})
    total = split.value_counts(normalize=True)
    off = (pd.crosstab(manifest["class"], split, normalize="index") - wanted).abs().max(axis=1)
    return (
        f"{manifest['group'].nunique()} groups stay whole: "
        + ", ".join(f"{name} has {total[name]:.1%} of the images ({wanted[name]:.0%} wanted)" for name in SPLITS)
        + f"; the class farthest off is {off.idxmax()!r}, by {100 * off.max():.1f} points."
    )
