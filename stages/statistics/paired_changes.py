"""Changes of accuracy and loss from one model to another on the same images, with 95% intervals.

Near-duplicates are one piece of evidence: what is sampled are groups of images.
`python -m tests.benchmarks.paired_changes` has the coverage of the intervals.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.statistics import bootstrap, intervals, paired_test

REPLICATES = 2000  # number of bootstrap replicates
SEED = 0  # seed of the weights: the same predictions have the same interval


@dataclass(frozen=True)
class Change:
    """A score of both models, and the ends of the 95% interval of the difference."""

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def direction(self) -> int:
        """1 or -1 if the score rises or falls by more than noise, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def of_accuracy(table: pd.DataFrame) -> Change:
    """Returns the change of accuracy of the table of paired_test.count_flips.

    The interval is a bootstrap to which half a prediction is added that only `b` gets right, half a one that only `a`
    does, and one on which they agree (Jeffreys' prior of the four cells): otherwise it would have no width where no
    prediction differs. It holds 0 where the exact test does not reject that: with few differing images, that is the
    more cautious one.
    """
    before, after = (float(table[name].mean()) for name in ("a", "b"))
    gained, tries = _group_sums(table, table["b"].astype(float) - table["a"])
    rng = np.random.default_rng(SEED)
    sums = bootstrap.weighted_sums(rng, REPLICATES, {"gained": gained, "tries": tries})
    more, fewer, equal = tries.mean() * rng.gamma([[0.5], [0.5], [1.0]], size=(3, REPLICATES))
    added = np.array([more - fewer, fewer - more])  # both, so that no change has as much room below it as above
    replicates = (sums["gained"] + added) / (sums["tries"] + more + fewer + equal)
    low, high = intervals.of_replicates(replicates, after - before)
    if paired_test.count_flips(table)["p_value"] >= paired_test.SIGNIFICANCE:
        low, high = min(low, 0.0), max(high, 0.0)
    return Change(before, after, low, high)


def of_loss(table: pd.DataFrame) -> Change:
    """Returns the change of the mean loss from the columns group, loss_a and loss_b.

    The half width of the interval is that of 95% of the bootstrap replicates around the difference, as Student's
    distribution widens it for few groups (T. C. Hesterberg, The American Statistician 69, 2015). Ends at quantiles of
    the replicates would cover too little: few images have most of the difference.
    """
    from scipy import stats  # takes a second

    before, after = (float(table[f"loss_{name}"].mean()) for name in ("a", "b"))
    change, tries = _group_sums(table, table["loss_b"] - table["loss_a"])
    sums = bootstrap.weighted_sums(np.random.default_rng(SEED), REPLICATES, {"change": change, "tries": tries})
    groups = len(tries)
    if groups < 2:
        return Change(before, after, -math.inf, math.inf)
    widened = math.sqrt(groups / (groups - 1)) * stats.t.ppf(intervals.LEVELS[1], groups - 1) / intervals.Z
    half = widened * float(np.quantile(np.abs(sums["change"] / sums["tries"] - (after - before)), 0.95))
    return Change(before, after, after - before - half, after - before + half)


def _group_sums(table: pd.DataFrame, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of values over each group, and its number of rows, float [G] each."""
    of_group = values.groupby(table["group"])
    return of_group.sum().to_numpy(float), of_group.size().to_numpy(float)
