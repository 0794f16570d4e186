"""Groups of images that stay in one split: near-duplicates, and what the user says belongs together."""

import re

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.labels.files import ImageFile


def add(manifest: pd.DataFrame, images: list[ImageFile], data: params.Data) -> pd.DataFrame:
    """Adds group, the given split and metadata to a manifest.

    Args:
        manifest: N rows with path and duplicates; its index holds places in `images`.
        images: of labels.find_images.
        data: the group `data` of params.yaml.

    Returns:
        DataFrame: with the columns group, split and metadata added.

    Raises:
        UserError: data.group_pattern fits no path.
    """
    found = [images[row] for row in manifest.index]
    keys = [pd.Series([image.group for image in found], manifest.index, dtype=object)]
    if data.group_pattern:
        keys.append(by_pattern(manifest["path"], data.group_pattern))
        if not keys[-1].any():
            raise UserError(
                f"data.group_pattern {printable(data.group_pattern)} fits no path, such as "
                f"{printable(manifest['path'].iloc[0])}. In patient7/scan_1.jpg, "
                r"(patient\d+) finds the group patient7."
            )
    given = any((key != "").any() for key in keys)
    added = pd.DataFrame(
        {
            "group": join(manifest["duplicates"], *keys) if given else manifest["duplicates"],
            "split": [image.split for image in found],
        },
        manifest.index,
    )
    manifest = manifest.drop(columns="duplicates").join(added).assign(duplicates=manifest["duplicates"])
    return manifest.join(pd.DataFrame([image.columns for image in found], manifest.index))


def join(*keys: pd.Series) -> np.ndarray:
    """Joins images that have the same value of any key, and those that are joined to these.

    Args:
        keys: [N] each; an empty text joins nothing.

    Returns:
        int64 [N]: the number of each image's group, from 0 in order of first appearance.
    """
    count = nodes = len(keys[0])
    images, values = [], []
    for key in keys:
        rows = np.flatnonzero(key != "")
        codes, found = pd.factorize(key.to_numpy()[rows])
        images.append(rows)
        values.append(codes + nodes)
        nodes += len(found)
    edges = (np.concatenate(images), np.concatenate(values))
    graph = sparse.coo_array((np.ones(len(edges[0])), edges), shape=(nodes, nodes))
    return pd.factorize(csgraph.connected_components(graph, directed=False)[1][:count])[0]


def by_pattern(paths: pd.Series, pattern: str) -> pd.Series:
    """Returns what the one group of a regular expression finds in each path, empty where it does not fit: str [N]."""
    return paths.map(lambda path: match[1] or "" if (match := re.search(pattern, path)) else "")


def drop_near_duplicates(manifest: pd.DataFrame) -> pd.DataFrame:
    """Keeps one image of each group of near-duplicates and class: of given splits that of test, validation, train."""
    rank = manifest["split"].map({name: -place for place, name in enumerate(SPLITS)}).fillna(0)
    used = manifest.loc[rank.sort_values(kind="stable").index].drop_duplicates(["duplicates", "class"]).index
    return manifest[manifest.index.isin(used)]


def table(manifest: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """Lists all near-duplicates.

    Args:
        manifest: N rows with path, class and duplicates.
        split: str [M], with part of the same index; others were dropped.

    Returns:
        DataFrame: the rows that have near-duplicates, by group: duplicates (the number of the group), path, class,
            split (dropped, if it is not used); classes_mix and splits_mix, 1 for groups with several classes or splits.
    """
    rows = manifest[["duplicates", "path", "class"]].assign(split=split.reindex(manifest.index).fillna("dropped"))
    rows = rows[rows["duplicates"].duplicated(keep=False)].sort_values(["duplicates", "path"])
    used = rows[rows["split"] != "dropped"]
    classes, splits = rows.groupby("duplicates")["class"].nunique(), used.groupby("duplicates")["split"].nunique()
    return rows.assign(
        classes_mix=(rows["duplicates"].map(classes) > 1).astype(int),
        splits_mix=(rows["duplicates"].map(splits) > 1).astype(int),
    )


def describe(listed: pd.DataFrame, manifest: pd.DataFrame, split: pd.Series, data: params.Data) -> list[str]:
    """Says, a line each, what the user should know about groups: where classes mix, where they cross given splits.

    Args:
        listed: what `table` returns.
        manifest: N rows with path, class, group, duplicates and split, the given one or empty.
        split: str [N], with the same index.
        data: the group `data` of params.yaml.
    """
    notes = []
    texts = {
        "classes_mix": "hold images of more than one class: wrong labels, or images that are alike by nature",
        "splits_mix": "cross the splits, which are taken as given: the score may flatter",
    }
    for column, text in texts.items():
        flagged = listed[listed[column] == 1]
        if len(flagged):
            first = flagged.loc[flagged["duplicates"] == flagged["duplicates"].iloc[0], "path"]
            notes.append(
                f"WARNING: {flagged['duplicates'].nunique()} groups of near-duplicates {text}. The first: "
                f"{printable(first.iloc[0])} = {printable(first.iloc[-1])}; all: data/splits/near_duplicates.csv "
                f"({column}). If they are different images, set data.near_duplicates to ignore."
            )
    if data.group_pattern and (alone := (by_pattern(manifest["path"], data.group_pattern) == "")).any():
        notes.append(
            f"data.group_pattern does not fit {alone.sum()} of {len(manifest)} paths, such as "
            f"{printable(manifest['path'][alone].iloc[0])}: it puts these images in no group."
        )
    joined = manifest.groupby("group")["duplicates"].nunique() > 1
    if joined.any() and not manifest["split"].any():
        notes.append(fractions_off(manifest, split, data))
    crossing = joined & (split.groupby(manifest["group"]).nunique() > 1)
    if crossing.any():
        examples = manifest.groupby("group")["path"].first()[crossing].map(printable)
        notes.append(
            f"WARNING: {crossing.sum()} of your groups cross the splits, which are taken as given: the score may "
            f"flatter. Images of them: {enumeration(list(examples), 3)}."
        )
    return notes


def fractions_off(manifest: pd.DataFrame, split: pd.Series, data: params.Data) -> str:
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
