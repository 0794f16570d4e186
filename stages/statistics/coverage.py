"""Coverage of prediction sets, the fraction of sets that hold the true class: what is expected of it, and in words."""

import math
from collections.abc import Mapping
from fractions import Fraction

from stages.statistics import intervals

MISSES = Fraction(1, 20)  # largest fraction of sets, on average over splits, that do not hold the true class
FEWEST = MISSES.denominator - 1  # smallest number of validation images for which there is a threshold


def rank(fitted: int) -> int:
    """Returns which of the lowest probabilities of the true class of validation images is the threshold of split
    conformal prediction, floor((n + 1) / 20); 0 below FEWEST images, for which there is none.
    """
    return math.floor(MISSES * (fitted + 1))


def expected(fitted: int, tested: int) -> tuple[float, float]:
    """Returns the bounds of the threshold's coverage in 95% of splits with so many validation and test images.

    The number of test images whose true class reaches the threshold has a beta-binomial distribution, whatever the
    model, if all images are exchangeable and no probabilities are equal (A. N. Angelopoulos, S. Bates,
    arXiv:2107.07511, 2021, appendix C). Groups widen it.
    """
    from scipy import stats

    if fitted < FEWEST:
        return 1.0, 1.0
    low, high = stats.betabinom.ppf(intervals.LEVELS, tested, fitted + 1 - rank(fitted), rank(fitted)) / tested
    return float(low), float(high)


def describe(scores: Mapping[str, float]) -> str:
    """Says in words what prediction_sets.evaluate returned."""
    low, high = scores["set_coverage_low"], scores["set_coverage_high"]
    if low == 1:
        return f"Prediction sets hold all classes: they take {FEWEST} validation images or more."
    return (
        f"Prediction sets, made to hold the true class in {float(1 - MISSES):.0%} of cases, hold it for "
        f"{scores['set_coverage']:.1%} of the test images, with {scores['set_size']:.2f} classes on average. In 95% of "
        f"splits of this size, the threshold alone gives {low:.1%} to {high:.1%} if all images are independent; groups "
        "make it vary more."
    )
