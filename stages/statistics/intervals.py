"""95% confidence intervals: of proportions, of bootstrap replicates, and of the mean of repeated experiments.

scipy.stats, which takes a second to import, is imported where it is used: the report needs it nowhere.
"""

import math

import numpy as np
import pandas as pd

LEVELS = (0.025, 0.975)  # quantiles at the ends of a 95% interval
Z = 1.959964  # standard normal quantile at the upper end


def jeffreys(hits: np.ndarray, tries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of Jeffreys' intervals of hits / tries (L. D. Brown et al., Statistical Science 16, 2001)."""
    from scipy import stats

    low, high = (stats.beta.ppf(level, hits + 0.5, tries - hits + 0.5) for level in LEVELS)
    return np.where(hits > 0, low, 0), np.where(hits < tries, high, 1)


def wilson(proportion: float, count: float) -> tuple[float, float]:
    """Returns Wilson's interval of a proportion of `count` (E. B. Wilson, JASA 22, 1927)."""
    middle = (proportion + Z**2 / 2 / count) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(proportion * (1 - proportion) / count + (Z / 2 / count) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(a: float, b: float, count_a: float, count_b: float) -> tuple[float, float]:
    """Returns Newcombe's interval of a - b, proportions of two counts (R. G. Newcombe, Stat. Med. 17, 1998)."""
    (low_a, high_a), (low_b, high_b) = wilson(a, count_a), wilson(b, count_b)
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def of_replicates(replicates: np.ndarray, value: float) -> list[float]:
    """Returns the middle 95% of the bootstrap replicates of a statistic, widened to hold its `value`."""
    low, high = np.quantile(replicates, LEVELS)
    return [float(min(low, value)), float(max(high, value))]


def of_repeats(
    scores: pd.DataFrame, test_to_train: float, images: np.ndarray, bounded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the intervals of the mean of each score over repeats, float [K] each.

    Repeats share images, so they are not independent: the variance of the mean of n repeats is taken as
    sd^2 * (1 / n + test_to_train), with n - 1 degrees of freedom (C. Nadeau, Y. Bengio, Machine Learning 52, 2003,
    eq. 9). So that the interval stays in the range of the score, it is a score interval (E. B. Wilson, JASA 22, 1927):
    it holds every value that the mean is not significantly far from, if the variance at a value m is in proportion to
    m * (1 - m), or to m for a score without an upper bound. A fraction of images varies at least as that of so many
    independent ones, which matters where all repeats are equal (an effective sample size, as in E. L. Korn,
    B. I. Graubard, Survey Methodology 24, 1998). `python -m tests.benchmarks.repeat_intervals` measures the coverage.

    Args:
        scores: a row per repeat and K columns of scores, none negative.
        test_to_train: number of test images divided by that of training images.
        images: float [K], the number of images that a score is a fraction of; NaN for other scores.
        bounded: bool [K], whether a score is at most 1.
    """
    from scipy import stats

    n, mean, deviation = len(scores), scores.mean().to_numpy(), scores.std(ddof=1).to_numpy()
    factor = 1 / n + test_to_train
    scale = mean * np.where(bounded, 1 - mean, 1)
    with np.errstate(invalid="ignore"):
        observed = (stats.t.ppf(0.975, n - 1) * deviation) ** 2 * factor / scale  # NaN if all repeats are 0, or all 1
    spread = np.nan_to_num(np.fmax(observed, stats.norm.ppf(0.975) ** 2 * factor / images))
    half = np.sqrt(spread * scale + spread**2 / 4)
    ends = (mean + spread / 2 + np.array([-half, half])) / np.where(bounded, 1 + spread, 1)
    low, high = np.clip(ends, 0, np.where(bounded, 1, np.inf))
    return low, high
