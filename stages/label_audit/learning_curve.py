"""Learning curve: accuracy of the head against the number of training images, and what twice as many would bring.

The error rate is extrapolated as a power law of the number of training images (J. Hestness et al., arXiv:1712.00409,
2017). `python -m tests.benchmarks.learning_curve` compares the prediction with what twice as many images do bring. On
43 parts, of 80 to 480 alpacas, digits, flowers, signs, cats and dogs, the predicted accuracy is off by 1.4 points on
average (without a gain, by 2.6), and 98% of its intervals and 93% of those of the gain hold.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from stages.common.arrays import Features, Groups, Labels, Probabilities
from stages.common.dataset import evenly_spaced
from stages.label_audit import cross_validation, label_errors
from stages.label_audit.cross_validation import LARGE, Folds
from stages.statistics import bootstrap, intervals

FRACTIONS = (1 / 8, 1 / 4, 1 / 2)  # fractions of the training images of each fold
REPEATS = 2  # number of times, with other images, that the head is trained on a fraction of up to LARGE images
PER_CLASS = 2  # mean number of images of a class in the smallest training set
REPLICATES = 1000  # number of bootstrap replicates
# What the bootstrap does not know, by that benchmark: curves bend, and another training set errs on other images.
SPREAD = 0.5  # standard deviation of the logarithm of the power law's exponent
DISCORDANT = 0.5  # images on which only one of two heads errs, as a fraction of the errors


def measure(
    head: LogisticRegression,
    probabilities: Probabilities,
    features: Features,
    labels: Labels,
    groups: Groups,
    folds: Folds,
    seed: int,
) -> dict[str, Any]:
    """Trains the head on growing parts of each fold's training images, and extrapolates.

    Of more than LARGE images, it does so once, on the first fold, and tests on up to LARGE images. The features are of
    unit norm; head and probabilities are those of cross_validation.select_head; the seed selects the parts.

    Returns sizes, numbers of training images; the accuracy with each and its 95% intervals; and `doubled`, what
    `extrapolate` returns, or None with fewer than three sizes, or predictions that hardly beat guessing.
    """
    repeats = REPEATS
    if len(labels) > LARGE:
        repeats, folds = 1, [(train, evenly_spaced(test, LARGE)) for train, test in folds[:1]]
    rng = np.random.default_rng(seed)
    orders = np.array([rng.permutation(groups.max() + 1)[groups] for _ in range(repeats)])
    full = float(np.mean([len(train) for train, _ in folds]))
    fractions = [fraction for fraction in FRACTIONS if fraction * full >= PER_CLASS * (labels.max() + 1)]
    curve = [train_on(fraction, head, features, labels, folds, orders) for fraction in fractions]
    curve.append((full, (probabilities.argmax(axis=1) != labels).astype(float)))
    sizes = np.array([size for size, _ in curve])
    tested = np.sort(np.concatenate([test for _, test in folds]))
    errors, groups = np.stack([wrong[tested] for _, wrong in curve]), groups[tested]
    rates, replicates = errors.mean(axis=1), error_rates(errors, groups, rng)
    enough = len(curve) > 2 and label_errors.beats_guessing(labels[tested], groups, errors[-1] == 0)
    return {
        "sizes": [round(size) for size in sizes],
        "accuracy": (1 - rates).tolist(),
        "intervals": [intervals.of_replicates(1 - row, 1 - rate) for row, rate in zip(replicates, rates, strict=True)],
        "doubled": extrapolate(sizes, rates, replicates, len(np.unique(groups)), rng) if enough else None,
    }


def train_on(
    fraction: float, head: LogisticRegression, features: Features, labels: Labels, folds: Folds, orders: np.ndarray
) -> tuple[float, np.ndarray]:
    """Trains the head on a fraction of each fold's training images, once for each of `orders` (see `take`).

    Returns the mean number of training images, and how often each image was wrong, float [N] in [0, 1].
    """
    sizes, wrong = [], np.zeros(len(labels))
    for order in orders:
        parts = [(take(fraction, train, labels, order), test) for train, test in folds]
        sizes += [len(train) for train, _ in parts]
        wrong += cross_validation.predict(head, features, labels, parts).argmax(axis=1) != labels
    return float(np.mean(sizes)), wrong / len(orders)


def take(fraction: float, rows: np.ndarray, labels: Labels, order: np.ndarray) -> np.ndarray:
    """Returns about a fraction of `rows`, in each class the lowest in `order`, which is the same within a group."""
    places = pd.Series(order[rows]).groupby(labels[rows])
    return rows[(places.rank(method="min") - 1 < fraction * places.transform("size")).to_numpy()]


def error_rates(errors: np.ndarray, groups: Groups, rng: np.random.Generator) -> np.ndarray:
    """Returns bootstrap replicates, float [S, REPLICATES], of S error rates; the errors are float [S, N] in [0, 1]."""
    group = np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(group)
    weights = rng.standard_exponential((REPLICATES, len(counts)), np.float32)
    wrong = np.array([weights @ np.bincount(group, row) for row in errors])
    size = len(group) / len(counts)
    return np.maximum(1e-9, bootstrap.smoothed_ratio(rng, wrong, weights @ counts, size, half=0.5))


def extrapolate(
    sizes: np.ndarray, errors: np.ndarray, replicates: np.ndarray, evidence: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Extrapolates accuracy and gain in accuracy to twice the largest size, by a power law of the error rate.

    Args:
        sizes, errors: float [S], numbers of training images, and the error rate with each.
        replicates: float [S, R], bootstrap replicates of the error rates.
        evidence: number of independent groups of images that were tested.
    """
    last = errors[-1]
    gain = last * (1 - 2 ** -decay(sizes, np.maximum(errors, 0.5 / evidence)))
    spread, noise = rng.standard_normal((2, replicates.shape[1]))
    rest = replicates[-1] * 2 ** -(decay(sizes, replicates) * np.exp(SPREAD * spread))
    gains = replicates[-1] - rest + noise * np.sqrt(DISCORDANT * rest / evidence)
    return {
        "size": round(2 * sizes[-1]),
        "accuracy": float(1 - last + gain),
        "interval": intervals.of_replicates(1 - rest, 1 - last + gain),
        "gain": float(gain),
        "gain_interval": intervals.of_replicates(gains, gain),
    }


def decay(sizes: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Returns the exponent b >= 0 of the power law error = a * size ** -b, by least squares of the logarithms.

    The sizes are float [S], the errors float [S] or [S, R].
    """
    x = np.log(sizes) - np.log(sizes).mean()
    return np.maximum(0, -(x @ np.log(errors)) / (x @ x))
