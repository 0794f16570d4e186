"""Stratified division of groups of images: classes and sizes as near to the wanted fractions as groups allow."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse

from stages.splits.pack import Manifest

PASSES = 20  # maximum number of passes through all groups; a few are enough
FEW = 500  # groups up to which exchanging two is tried: of many, moving single ones comes near enough


def to_splits(manifest: Manifest, order: pd.Index, fractions: Mapping[str, float]) -> dict[int, str]:
    """Assigns groups to splits: from each group to "train" or a name in `fractions`.

    The largest groups come first, equally large ones in their `order`, each into the split where the sum of (n - e)² /
    e over its classes becomes lowest, n and e being the images of a class in a split and those wanted there. Then
    groups are moved, and pairs exchanged, while that lowers the sum; a split without any image of a class counts as if
    all of the class were missing.
    """
    names = ["train", *fractions]
    counts = _count_images(manifest, order)
    expected = counts.sum(axis=0)[:, np.newaxis] * [1 - sum(fractions.values()), *fractions.values()]
    filled, split = np.zeros_like(expected), np.full(len(order), -1)
    for _ in range(PASSES):
        changed = _move(counts, split, filled, expected)
        if len(order) <= FEW:
            changed |= _exchange(counts.toarray(), split, filled, expected)
        if not changed:
            break
    return {group: names[split[row]] for row, group in enumerate(order)}


def to_folds(manifest: Manifest, order: pd.Index, count: int) -> dict[int, int]:
    """Divides groups into folds with equal numbers of images of each class, as nearly as groups allow.

    One group after the other, the larger ones first, goes where its classes have the fewest images, and of such folds
    to the one with the fewest in all. Groups of equal size come in their `order`. Folds are numbered from 1 to `count`.
    """
    members = _count_images(manifest, order).toarray()
    weights = members / members.sum(axis=0) ** 2  # a class counts by fractions: a small one as much as a large one
    held, fold = np.zeros((count, members.shape[1])), np.zeros(len(order), int)
    for row in np.argsort(-members.sum(axis=1), kind="stable"):
        filled = (held @ weights[row]).round(12)  # the last digits differ between processors
        fold[row] = np.lexsort([held.sum(axis=1), filled])[0]
        held[fold[row]] += members[row]
    return dict(zip(order, fold + 1, strict=True))


def _count_images(manifest: Manifest, order: pd.Index) -> sparse.csr_array:
    """Returns the images of each class in each group, float [G, C], with the groups in their order."""
    rows, classes = order.get_indexer(manifest["group"]), manifest["class"].astype("category").cat.codes
    return sparse.coo_array((np.ones(len(rows)), (rows, classes)), shape=(len(order), classes.max() + 1)).tocsr()


def _move(counts: sparse.csr_array, split: np.ndarray, filled: np.ndarray, expected: np.ndarray) -> bool:
    """Moves each group, the largest first, to where it costs least; tells whether any has moved.

    Args:
        counts: images of each class in each group, float [G, C].
        split: the split of each group, int [G], changed in place; -1 for a group that is in none yet.
        filled: images of each class in each split, float [C, S], changed in place.
        expected: images of each class wanted in each split, float [C, S].
    """
    before = split.copy()
    for group in np.argsort(-counts.sum(axis=1), kind="stable"):
        part = slice(*counts.indptr[group : group + 2])
        classes, images = counts.indices[part], counts.data[part]
        if split[group] >= 0:
            filled[classes, split[group]] -= images
        wanted = expected[classes]
        costs = _added_cost(images[:, np.newaxis], filled[classes], wanted, wanted.sum(axis=1, keepdims=True))
        split[group] = costs.sum(axis=0).argmin()
        filled[classes, split[group]] += images
    return bool((split != before).any())


def _exchange(counts: np.ndarray, split: np.ndarray, filled: np.ndarray, expected: np.ndarray) -> bool:
    """Exchanges groups of different splits where that costs less; tells whether any were. _move says the arguments."""
    total, changed = expected.sum(axis=1), False
    for group in range(len(counts)):
        others = np.flatnonzero(split != split[group])
        if not len(others):
            break
        here, there = split[group], split[others]
        gain = counts[others] - counts[group]
        costs = _added_cost(gain, filled[:, here], expected[:, here], total)
        costs += _added_cost(-gain, filled.T[there], expected.T[there], total)
        best = costs.sum(axis=1).argmin()
        if costs.sum(axis=1)[best] < -1e-9:
            other = others[best]
            filled[:, here] += gain[best]
            filled[:, split[other]] -= gain[best]
            split[group], split[other] = split[other], here
            changed = True
    return changed


def _added_cost(images: np.ndarray, filled: np.ndarray, expected: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns by how much further images raise the cost, of classes with `total` images in all splits."""

    def cost(held: np.ndarray) -> np.ndarray:
        return (held - expected) ** 2 / expected + (held == 0) * total

    return cost(filled + images) - cost(filled)
