"""Numbers that say how good predictions are. Labels are whole numbers [N], probabilities float [N, C]."""

import json

import numpy as np
import pandas as pd
from sklearn import metrics


def predict(probabilities, threshold):
    """Returns the predicted labels, int [N].

    Of two classes, the second is predicted where its probability reaches `threshold`; of more, the likeliest.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(int)
    return probabilities.argmax(axis=1)


def score(labels, probabilities, threshold):
    """Scores predictions.

    Returns:
        dict of floats: accuracy; loss, the mean cross-entropy in nats; auc, the area under the ROC curve; precision,
        recall and f1. With two classes these four are those of the second class; with more they are the mean over the
        classes, auc one-versus-rest.
    """
    predicted = predict(probabilities, threshold)
    two_classes = probabilities.shape[1] == 2
    # In float64, and never log(0): a probability below 1e-300 was rounded down to 0.
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="binary" if two_classes else "macro", zero_division=0
    )
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "loss": float(-np.log(np.maximum(of_truth, 1e-300)).mean()),
        "auc": float(
            metrics.roc_auc_score(labels, probabilities[:, 1])
            if two_classes
            else np.mean([metrics.roc_auc_score(labels == k, column) for k, column in enumerate(probabilities.T)])
        ),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def score_classes(labels, probabilities, threshold, classes):
    """Scores each class by itself, predictions as in `predict`.

    Args:
        classes: list of str, C class names.

    Returns:
        dict: "macro", the mean over the classes of precision, recall and f1 (a class counts the same whatever its size),
        and "classes", from each class name to its precision, recall, f1, auc (one-versus-rest) and number of pictures.
    """
    precision, recall, f1, count = metrics.precision_recall_fscore_support(
        labels, predict(probabilities, threshold), labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1}, index=classes)
    macro = table.mean().to_dict()
    table["auc"] = [metrics.roc_auc_score(labels == k, column) for k, column in enumerate(probabilities.T)]
    table["pictures"] = count
    return {"macro": macro, "classes": json.loads(table.to_json(orient="index", double_precision=15))}


def roc(labels, probabilities):
    """Returns the ROC curve as a DataFrame: fpr, tpr, threshold.

    With two classes it is that of the second class; with more, all one-versus-rest decisions are pooled (micro-average).
    """
    fpr, tpr, threshold = metrics.roc_curve(*_decisions(labels, probabilities))
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": np.minimum(threshold, 1)})  # the first is infinite


def precision_recall(labels, probabilities):
    """Returns the precision-recall curve as a DataFrame: recall, precision, threshold; decisions as in `roc`."""
    precision, recall, threshold = metrics.precision_recall_curve(*_decisions(labels, probabilities))
    return pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.append(threshold, 1)})


def _decisions(labels, probabilities):
    """Returns yes-or-no truths and their scores, both [N], or [N * C] where there are more than two classes."""
    if probabilities.shape[1] == 2:
        return labels == 1, probabilities[:, 1]
    return (labels[:, np.newaxis] == np.arange(probabilities.shape[1])).ravel(), probabilities.ravel()
