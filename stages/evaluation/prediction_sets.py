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

import numpy as np

from stages.common.arrays import Labels, Probabilities
from stages.statistics import coverage


def fit(labels: Labels, probabilities: Probabilities) -> float:
    """Returns the lowest probability of a class in a set, from validation images that were not trained on.

    It is one of the lowest probabilities of their true classes (coverage.rank): 1 - probability has rank
    ceil(0.95 (n + 1)) among n images. For too few images it is 0, so that sets hold all classes.
    """
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    rank = coverage.rank(len(labels))
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


def evaluate(fitted: tuple[Labels, Probabilities], tested: tuple[Labels, Probabilities]) -> dict[str, float]:
    """Fits a threshold on validation images; returns it, set_threshold, with what `score` returns of test images, and
    the bounds of coverage.expected, set_coverage_low and set_coverage_high.
    """
    threshold = fit(*fitted)
    low, high = coverage.expected(len(fitted[0]), len(tested[0]))
    return (
        {"set_threshold": threshold} | score(*tested, threshold) | {"set_coverage_low": low, "set_coverage_high": high}
    )
