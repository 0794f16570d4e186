"""Cross-validated classifiers on features, with near-duplicates in one fold: each would give away the other's label."""

import operator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

FOLDS = 5
INVERSE_PENALTIES = (1, 10, 100)  # C of the logistic regression, for features of unit norm
LARGE = 5000  # images from which on one fold is enough to compare classifiers

Folds = list[tuple[np.ndarray, np.ndarray]]  # rows to train with and rows to test with


def divide(labels: np.ndarray, groups: np.ndarray, seed: int) -> Folds:
    """Divides images into FOLDS folds, or as many as the smallest class has groups, so that each fold can have one.

    Args:
        labels: int [N], each of C classes in at least two groups.
        groups: [N], the same for near-duplicates.
        seed: of the division.
    """
    count = min(FOLDS, int(pd.Series(groups).groupby(labels).nunique().min()))
    return list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups))


def predict(classifier: Any, features: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """Returns the class probabilities of each fold's test images, float [N, C]; 0 for images that are in none."""
    probabilities = np.zeros((len(labels), labels.max() + 1))
    # Small products of matrices take many times longer with threads that wait for each other on a busy machine.
    with threadpool_limits(1 if len(labels) <= LARGE else None):
        for train, test in folds:
            classifier.fit(features[train], labels[train])
            probabilities[np.ix_(test, classifier.classes_)] = classifier.predict_proba(features[test])
    return probabilities


def select_head(features: np.ndarray, labels: np.ndarray, folds: Folds) -> tuple[LogisticRegression, np.ndarray]:
    """Selects the C of a logistic regression, of INVERSE_PENALTIES, by the log loss in cross-validation.

    Args:
        features: float32 [N, D], of unit norm.
        labels: int [N].
        folds: what `divide` returns; of more than LARGE images, C is selected on the first fold alone.

    Returns:
        The logistic regression, and its out-of-sample probabilities, float [N, C].
    """
    some = folds if len(labels) <= LARGE else folds[:1]
    tested = np.concatenate([test for _, test in some])

    def trial(c: float) -> tuple[float, LogisticRegression, np.ndarray]:
        head = LogisticRegression(C=c, max_iter=1000)
        probabilities = predict(head, features, labels, some)
        own = probabilities[tested, labels[tested]]
        return -float(np.log(np.maximum(own, 1e-6)).mean()), head, probabilities

    _, head, probabilities = min(map(trial, INVERSE_PENALTIES), key=operator.itemgetter(0))
    return head, probabilities if some is folds else predict(head, features, labels, folds)
