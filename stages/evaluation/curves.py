"""ROC and precision-recall curves."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.common.arrays import Labels, Probabilities


def roc(truth: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Returns the ROC curve of binary decisions: fpr, tpr, threshold."""
    fpr, tpr, threshold = metrics.roc_curve(truth, scores)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": np.minimum(threshold, 1)})  # the first is infinite


def precision_recall(truth: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Returns the precision-recall curve of binary decisions: recall, rising, precision, threshold.

    Of thresholds with the same recall, only the highest is kept, which has the highest precision: the others would end
    the curve in a fall to the fraction of the class.
    """
    precision, recall, threshold = metrics.precision_recall_curve(truth, scores)
    table = pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.append(threshold, 1)})
    return table.drop_duplicates("recall", keep="last")[::-1].reset_index(drop=True)


def decisions(labels: Labels, probabilities: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Returns the truths and the scores of binary decisions, both [N] or, for more than two classes, [N * C].

    They are about the second of two classes; of more, all one-versus-rest decisions are pooled (micro average).
    """
    if probabilities.shape[1] == 2:
        return labels == 1, probabilities[:, 1]
    return (labels[:, np.newaxis] == np.arange(probabilities.shape[1])).ravel(), probabilities.ravel()


def by_class(
    curve: Callable[..., pd.DataFrame], labels: Labels, probabilities: Probabilities, classes: list[str]
) -> pd.DataFrame:
    """Returns the one-versus-rest curves of all classes, `roc` or `precision_recall`, after another column, class."""
    of_class = {name: curve(labels == k, probabilities[:, k]) for k, name in enumerate(classes)}
    return pd.concat(of_class, names=["class"]).reset_index("class")
