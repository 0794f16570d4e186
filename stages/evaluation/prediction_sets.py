"""Prediction sets: the classes that an image may be of, so that the set holds the true class in 95% of cases.

A set holds every class whose probability reaches a threshold: the least ambiguous sets of M. Sadinle, J. Lei and
L. Wasserman (JASA 114, 2019). Split conformal prediction fits the threshold on validation images. The predicted class
always belongs to its set, which would otherwise be empty where no probability reaches the threshold: coverage, the
fraction of sets that hold the true class, can only rise by that.

If validation images and new ones are exchangeable, coverage is 95% or more on average over splits (V. Vovk et al.,
Algorithmic Learning in a Random World, 2005). Groups, such as the images of one person, make it vary more from split to
split. The validation split has also chosen the epoch: its images may be predicted slightly better than new ones, for
which coverage is then slightly lower. The temperature, which is fitted on it, too, plays no part: sets are made of
unscaled probabilities.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from stages.common.arrays import Labels, Probabilities
from stages.statistics import intervals

MISSES = Fraction(1, 20)  # largest fraction of sets, on average over splits, that do not hold the true class
FEWEST = MISSES.denominator - 1  # smallest number of validation images for which there is a threshold


def fit(labels: Labels, probabilities: Probabilities) -> float:
    """Returns the lowest probability of a class in a set, from validation images that were not trained on.

    It is the floor((n + 1) / 20)-th lowest probability of the true class of n images; 0 below FEWEST images, so that
    sets hold all classes. (In terms of 1 - probability, it is the quantile of rank ceil(0.95 (n + 1)).)
    """
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    rank = _rank(len(labels))
    return float(np.sort(of_truth)[rank - 1]) if rank else 0.0


def members(probabilities: Probabilities, threshold: float) -> np.ndarray:
    """Returns which classes belong to the set of each image, bool [N, C]: at least the top-1 class."""
    belong = probabilities.astype(np.float64) >= threshold
    belong[np.arange(len(belong)), probabilities.argmax(axis=1)] = True
    return belong


def score(labels: Labels, probabilities: Probabilities, threshold: float) -> dict[str, float]:
    """Returns the fraction of sets that hold the true class, set_coverage, and their mean size in classes, set_size."""
    belong = members(probabilities, threshold)
    return {
        "set_coverage": float(belong[np.arange(len(labels)), labels].mean()),
        "set_size": float(belong.sum(axis=1).mean()),
    }


def expected_coverage(fitted: int, tested: int) -> tuple[float, float]:
    """Returns the bounds of the threshold's coverage in 95% of splits with so many validation and test images.

    The number of test images whose true class reaches the threshold has a beta-binomial distribution, whatever the
    model, if all images are exchangeable and no probabilities are equal (A. N. Angelopoulos, S. Bates,
    arXiv:2107.07511, 2021, appendix C). Groups widen it; the predicted class, which always belongs, raises coverage
    where it is right in more than 95% of cases.
    """
    from scipy import stats  # takes a second to import

    rank = _rank(fitted)
    if not rank:
        return 1.0, 1.0
    low, high = stats.betabinom.ppf(intervals.LEVELS, tested, fitted + 1 - rank, rank) / tested
    return float(low), float(high)


def evaluate(fitted: tuple[Labels, Probabilities], tested: tuple[Labels, Probabilities]) -> dict[str, float]:
    """Fits a threshold on validation images; returns it, set_threshold, with what `score` returns of test images, and
    the bounds of `expected_coverage`, set_coverage_low and set_coverage_high.
    """
    threshold = fit(*fitted)
    low, high = expected_coverage(len(fitted[0]), len(tested[0]))
    expected = {"set_coverage_low": low, "set_coverage_high": high}
    return {"set_threshold": threshold} | score(*tested, threshold) | expected


def describe(scores: Mapping[str, float]) -> str:
    """Says in words what `evaluate` returned."""
    low, high = scores["set_coverage_low"], scores["set_coverage_high"]
    if low == 1:
        return f"Prediction sets hold all classes: they take {FEWEST} validation images or more."
    return (
        f"Prediction sets, made to hold the true class in {float(1 - MISSES):.0%} of cases, hold it for "
        f"{scores['set_coverage']:.1%} of the test images, with {scores['set_size']:.2f} classes on average. In 95% of "
        f"splits of this size, the threshold alone gives {low:.1%} to {high:.1%} if all images are independent; groups "
        "make it vary more."
    )


def _rank(count: int) -> int:
    """Returns which of the lowest probabilities of the true class is the threshold; 0 if there are too few."""
    return math.floor(MISSES * (count + 1))
