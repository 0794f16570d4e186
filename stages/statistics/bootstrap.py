"""Bayesian bootstrap of ratios of counts (D. B. Rubin, Annals of Statistics 9, 1981).

The images are weighted at random, again and again; the middle 95% of the replicates of a statistic are its interval. A
group of near-duplicates has one weight, as it is one piece of evidence.

That alone would give [1, 1] after 40 correct predictions of 40. So half a correct and half a wrong prediction, each of
random weight and as large as a group, are added to each ratio. Without near-duplicates this gives Jeffreys' interval of
a proportion (L. D. Brown et al., Statistical Science 16, 2001), [0.94, 1] in this case.
"""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

CHUNK = 100  # replicates that are computed at a time


def weighted_sums(
    rng: np.random.Generator, replicates: int, group_sums: Mapping[str, np.ndarray | sparse.csr_array]
) -> dict[str, np.ndarray]:
    """Returns replicates of sums over all groups, float64 [replicates, K] each, from the sums of each group, [G, K]."""
    groups = next(iter(group_sums.values())).shape[0]
    chunks = []
    for _ in range(replicates // CHUNK):
        weights = rng.standard_exponential((CHUNK, groups), np.float32)
        chunks.append({name: weights @ sums for name, sums in group_sums.items()})
    return {name: np.concatenate([chunk[name] for chunk in chunks]).astype(float) for name in group_sums}


def smoothed_ratio(
    rng: np.random.Generator, hits: np.ndarray, tries: np.ndarray, size: float, half: float, miss: float = 0
) -> np.ndarray:
    """Returns replicates of hits / tries, to which half a hit and half a miss are added.

    Args:
        hits, tries: weighted sums, with the same last axes.
        size: number of images that a whole hit stands for.
        half: fraction of a hit that is added, and of a miss.
        miss: value of a miss, as a fraction of a hit.
    """
    hit, missed = size * rng.gamma(half, size=(2, *tries.shape))
    return (hits + hit + miss * missed) / np.maximum(tries + hit + missed, 1e-300)  # a small `half` can come to 0
