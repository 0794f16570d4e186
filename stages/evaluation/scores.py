"""Metrics of predictions, and the decision threshold of two classes."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.common.arrays import Labels, Probabilities
from stages.common.cli import UserError

TOP = 5  # usual k of top-k accuracy


def predict(probabilities: Probabilities, threshold: float) -> Labels:
    """Returns the predicted labels.

    Of two classes, the second is predicted where its probability reaches `threshold`; of more, the top-1 class.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1].astype(np.float64) >= threshold).astype(int)  # a float32 would round the threshold
    return probabilities.argmax(axis=1)


def check_criterion(criterion: str, classes: list[str]) -> None:
    """Raises a UserError if evaluate.threshold is a criterion, which is for two classes, but there are more."""
    if len(classes) > 2:
        raise UserError(
            f"evaluate.threshold is {criterion}, which is for two classes, but these are {len(classes)}: set a number, "
            "which then has no effect."
        )


def choose_threshold(labels: Labels, probabilities: Probabilities, criterion: str, model: str) -> float:
    """Returns the threshold of two classes that a criterion selects on validation images.

    The criterion is "max_f1", the threshold with the highest F1 of the second class; or "precision>=X", the lowest one
    with that precision, which has the highest recall. The threshold lies halfway between the lowest probability that is
    to reach it and the next lower one, or 0, so that no image lies on it. `model` is the model's name in the error.

    Raises:
        UserError: no threshold has that precision.
    """
    precision, recall, thresholds = metrics.precision_recall_curve(labels, probabilities[:, 1].astype(np.float64))
    precision, recall = precision[:-1], recall[:-1]  # the last point predicts the second class nowhere
    if criterion == "max_f1":
        place = np.argmax(precision * recall / np.maximum(precision + recall, 1e-300))
    else:
        reached = precision >= float(criterion.removeprefix("precision>="))
        if not reached.any():
            raise UserError(
                f"evaluate.threshold is {criterion}, but the highest precision that the {model} model reaches on the "
                f"validation split is {precision.max():.4f}. Lower the precision or improve the model."
            )
        place = np.argmax(reached)
    return float((thresholds[place] + (thresholds[place - 1] if place else 0)) / 2)


def cross_entropy(labels: Labels, probabilities: Probabilities) -> np.ndarray:
    """Returns the cross-entropy of each prediction in nats, float64 [N]."""
    # Never log(0): a probability below 1e-300 was rounded down to 0. (sklearn.metrics.log_loss clips float32 at 1e-7.)
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), 1e-300))


def score(
    labels: Labels, predicted: Labels, probabilities: Probabilities, classes: list[str]
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Returns the metrics of predictions by name, and those of each class.

    The former are accuracy; loss, the mean cross-entropy in nats; auc, the area under the ROC curve; precision, recall
    and f1. Of two classes, the last four are those of the second one; of more, macro averages, auc one-versus-rest.
    With more than five classes, there is top5_accuracy, too. In the latter, "classes" maps each class name to its
    precision, recall, f1, auc and support (number of images); "macro" has the averages of the first three.

    Only what is defined is there: classes without images are left out, also of the averages; where all images are of
    one class, of its metrics only recall remains, and of the former no auc, precision, recall and f1.
    """
    present = np.unique(labels)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=present, zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1}, index=[classes[k] for k in present])
    overall = {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "loss": float(cross_entropy(labels, probabilities).mean()),
    }
    if len(present) > 1:
        of_classes = probabilities[:, present]
        table["auc"] = metrics.roc_auc_score(labels[:, np.newaxis] == present, of_classes, average=None)
        main = table.iloc[1] if len(classes) == 2 else table.mean()
        overall |= main[["auc", "precision", "recall", "f1"]].to_dict()
    else:
        table = table[["recall"]]
    if len(classes) > TOP:
        known = np.arange(len(classes))
        overall["top5_accuracy"] = metrics.top_k_accuracy_score(labels, probabilities, k=TOP, labels=known)
    macro = table.drop(columns="auc", errors="ignore").mean().to_dict()
    return overall, {"macro": macro, "classes": table.assign(support=support).to_dict("index")}
