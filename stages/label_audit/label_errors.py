"""Label errors: the labels that cross-validated classifiers would change, and an estimate of how many are wrong.

The classifiers average a logistic regression and the nearest neighbours, as `python -m tests.benchmarks.label_audit`
chose: with 5% of the labels flipped, the average ranks them at least as high as logistic regression alone on alpacas,
faces, digits, flowers, cats and dogs, and on ten hand signs but for sets of 30 images each. Labels that it would
keep, but with a quality of 0.5 to 0.7, were flipped less often than the average label: they are not listed.

With shuffled labels the classifiers avoid at most 20% of the errors of a guess. Made weak, so that they avoid 50% to
60%, they overestimate the error rate by 19 points on average; from 80% on by less than 4. They hardly underestimate it.
"""

import numpy as np
import pandas as pd
from cleanlab.count import num_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from stages.common import files
from stages.label_audit import cross_validation
from stages.label_audit.cross_validation import Folds
from stages.statistics.paired_test import SIGNIFICANCE, permutation_test

NEIGHBOURS, BANDWIDTH = 20, 0.1  # how many, and of the kernel that weights them, in cosine similarity
LEAST_SKILL = 0.5  # fraction of the majority guess's errors that the classifiers must avoid


def average_with_neighbours(
    probabilities: np.ndarray, features: np.ndarray, labels: np.ndarray, folds: Folds
) -> np.ndarray:
    """Returns the mean of `probabilities` and of those of the nearest neighbours in the other folds, float [N, C].

    Args:
        probabilities: float [N, C], out-of-sample.
        features: float32 [N, D], of unit norm.
        labels: int [N].
        folds: what cross_validation.divide returns.
    """
    count = min(NEIGHBOURS, *(len(train) for train, _ in folds))
    classifier = KNeighborsClassifier(count, weights=_kernel, algorithm="brute")
    # Centred, because features behind a ReLU are all positive, and similar to one another.
    centred = normalize(features - features.mean(axis=0))
    return (probabilities + cross_validation.predict(classifier, centred, labels, folds)) / 2


def review(
    images: pd.DataFrame, groups: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> tuple[pd.DataFrame, float | None, float]:
    """Finds the labels that out-of-sample predictions would change.

    Args:
        images: N rows with path, split, class and label.
        groups: int [N], the same for near-duplicates.
        probabilities: float [N, C], out-of-sample.
        classes: C class names.

    Returns:
        (DataFrame, float or None, float): the rows of `rank` whose suggested class is not the given one, none if the
        predictions hardly beat guessing; `error_rate`; and the accuracy of the predictions.
    """
    estimate = error_rate(images["label"].to_numpy(), groups, probabilities)
    table = rank(images, probabilities, classes)
    differs = table["suggested"] != table["given"]
    return table[differs & (estimate is not None)], estimate, float((~differs).mean())


def describe(doubtful: int, error_rate: float | None, accuracy: float, path: str) -> str:
    """Says the result of `review` in one line; `path` is where its table is written."""
    if error_rate is None:
        return f"No label is checked: the cross-validated classifiers hardly beat guessing (accuracy {accuracy:.1%})."
    if not doubtful:
        return f"No label errors found (cross-validated accuracy {accuracy:.1%})."
    return f"{doubtful} labels are worth a second look: the most doubtful first in {path}."


def rank(images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Ranks labels by the margin of their out-of-sample probability.

    Args:
        images: N rows with path, split, class and label.
        probabilities: float [N, C], out-of-sample.
        classes: C class names.

    Returns:
        DataFrame of N rows, the most doubtful first: path, split, given and suggested (top-1) class, quality and the
        probabilities of both. Quality is cleanlab's normalized margin in [0, 1], (1 + probability of given - highest
        probability of another) / 2.
    """
    labels = images["label"].to_numpy()
    table = pd.DataFrame(
        {
            "path": images["path"].to_numpy(),
            "split": images["split"].to_numpy(),
            "given": images["class"].to_numpy(),
            "suggested": np.array(classes)[probabilities.argmax(axis=1)],
            "quality": get_label_quality_scores(labels, probabilities, method="normalized_margin"),
            "given_probability": probabilities[np.arange(len(labels)), labels],
            "suggested_probability": probabilities.max(axis=1),
        }
    )
    # By the digits that are written: further ones, which differ from processor to processor, would change the order.
    order = table["quality"].map(files.rounded).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def error_rate(labels: np.ndarray, groups: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Estimates the fraction of wrong labels; None if the classifiers hardly beat guessing, whose errors are no doubts.

    The estimate is that of confident learning, calibrated (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021).

    Args:
        labels: int [N].
        groups: int [N], the same for near-duplicates.
        probabilities: float [N, C], out-of-sample.
    """
    if not beats_guessing(labels, groups, probabilities.argmax(axis=1) == labels):
        return None
    return float(num_label_issues(labels, probabilities, estimation_method="off_diagonal_calibrated") / len(labels))


def beats_guessing(labels: np.ndarray, groups: np.ndarray, correct: np.ndarray) -> bool:
    """Whether predictions are clearly better than guessing the majority class.

    They must be significantly better by the exact permutation test on groups, and avoid at least LEAST_SKILL of the
    guess's errors.

    Args:
        labels: int [N].
        groups: int [N], the same for near-duplicates.
        correct: bool [N], whether each prediction is.
    """
    guess = labels == np.bincount(labels).argmax()
    gained = correct.astype(int) - guess
    by_group = pd.Series(gained).groupby(groups).sum().to_numpy()
    return gained.sum() >= LEAST_SKILL * (~guess).sum() and permutation_test(by_group) < SIGNIFICANCE


def _kernel(distances: np.ndarray) -> np.ndarray:
    """Returns the weights of neighbours at Euclidean `distances`, float [N, K], between unit vectors."""
    dissimilarities = distances**2 / 2  # 1 - cosine similarity
    return np.exp((dissimilarities.min(axis=1, keepdims=True) - dissimilarities) / BANDWIDTH)
