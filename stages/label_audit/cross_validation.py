"""Cross-validated classifiers on features, with near-duplicates in one fold: each would give away the other's label."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from stages.common.arrays import Features, Groups, Labels, Probabilities

FOLDS = 5  # maximum number of folds
INVERSE_PENALTIES = (1, 10, 100)  # candidates for C of the logistic regression, for features of unit norm
LARGE = 5000  # maximum number of images for which all folds compare the candidates; above it, one fold does

Folds = list[tuple[np.ndarray, np.ndarray]]  # rows to train with and rows to test with


def divide(labels: Labels, groups: Groups, seed: int) -> Folds:
    """Divides images into FOLDS folds, or as many as the smallest class has groups, which must be two or more."""
    count = min(FOLDS, int(pd.Series(groups).groupby(labels).nunique().min()))
    return list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups))


def predict(classifier: Any, features: Features, labels: Labels, folds: Folds) -> Probabilities:
    """Returns the class probabilities of each fold's test images; 0 for images that no fold tests."""
    probabilities = np.zeros((len(labels), labels.max() + 1))
    # Small products of matrices take many times longer with threads that wait for each other on a busy machine.
    with threadpool_limits(1 if len(labels) <= LARGE else None):
        for train, test in folds:
            classifier.fit(features[train], labels[train])
            probabilities[np.ix_(test, classifier.classes_)] = classifier.predict_proba(features[test])
    return probabilities


def select_head(features: Features, labels: Labels, folds: Folds) -> tuple[LogisticRegression, Probabilities]:
    """Selects the C of a logistic regression, of INVERSE_PENALTIES, by the log loss in cross-validation.

    For more than LARGE images, the first fold alone selects it. The probabilities are out-of-sample.
    """
    some = folds if len(labels) <= LARGE else folds[:1]
    tested = np.concatenate([test for _, test in some])
    heads = [LogisticRegression(C=c, max_iter=1000) for c in INVERSE_PENALTIES]
    trials = [predict(head, features, labels, some) for head in heads]
    losses = [-np.log(np.maximum(trial[tested, labels[tested]], 1e-6)).mean() for trial in trials]
    best = int(np.argmin(losses))
    return heads[best], trials[best] if some is folds else predict(heads[best], features, labels, folds)
