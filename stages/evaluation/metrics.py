"""Metrics of predictions, and thresholds. Labels are int [N], probabilities float [N, C]."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.common.cli import UserError
from stages.statistics import intervals

TOP = 5  # the usual k of top-k accuracy
ECE_BINS = 15  # of confidence (Guo et al. 2017)
BINS, BIN_SUPPORT = 10, 10  # of the reliability diagram: how many at most, with how many images at least


def predicted_labels(probabilities: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Returns the predicted labels, int [N].

    Of two classes, the second is predicted where its probability reaches `threshold`, one for all or float [N]; of
    more, the top-1 class.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1].astype(np.float64) >= threshold).astype(int)  # a float32 would round the threshold
    return probabilities.argmax(axis=1)


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, criterion: str, model: str) -> float:
    """Returns the threshold of `predicted_labels` that a criterion picks.

    It lies in the middle between the lowest probability that is to reach it and the next lower one, or 0, so that no
    image lies on it.

    Args:
        labels, probabilities: of validation images, two classes.
        criterion: "max_f1", where F1 of the second class is highest, or "precision>=X", the lowest with that precision,
            which has the highest recall; of equals the lowest.
        model: its name, for the error's text.

    Raises:
        UserError: no threshold has that precision.
    """
    precision, recall, scores = metrics.precision_recall_curve(labels, probabilities[:, 1].astype(np.float64))
    precision, recall = precision[:-1], recall[:-1]  # the last point is that of no prediction at all
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
    return float((scores[place] + (scores[place - 1] if place else 0)) / 2)


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the cross-entropy of each prediction in nats, float64 [N]."""
    # Never log(0): a probability below 1e-300 was rounded down to 0. (sklearn.metrics.log_loss clips float32 at 1e-7.)
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), 1e-300))


def score(labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray) -> dict[str, float]:
    """Returns the metrics of predictions.

    These are accuracy; loss, the mean cross-entropy in nats; auc, the area under the ROC curve; precision, recall and
    f1. With two classes the last four are those of the second class; with more, macro averages, auc one-versus-rest.
    With more than five classes, top5_accuracy too.
    """
    predicted = predicted_labels(probabilities, threshold)
    class_count = probabilities.shape[1]
    two_classes = class_count == 2
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="binary" if two_classes else "macro", zero_division=0
    )
    auc = _class_auc(labels, probabilities)
    scores = {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "loss": float(cross_entropy(labels, probabilities).mean()),
        "auc": float(auc[1] if two_classes else auc.mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }
    if class_count > TOP:
        top5 = metrics.top_k_accuracy_score(labels, probabilities, k=TOP, labels=range(class_count))
        scores["top5_accuracy"] = float(top5)
    return scores


def score_classes(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray, classes: list[str]
) -> dict[str, dict[str, Any]]:
    """Returns the metrics of each class, predictions as in `predicted_labels`.

    Args:
        labels, probabilities, threshold: as in `score`.
        classes: C class names.

    Returns:
        dict: "macro", the macro averages of precision, recall and f1; and "classes", from each class name to its
        precision, recall, f1, auc (one-versus-rest) and support (number of images).
    """
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted_labels(probabilities, threshold), labels=range(len(classes)), zero_division=0
    )
    table = pd.DataFrame({"precision": precision, "recall": recall, "f1": f1}, index=classes)
    macro = table.mean().to_dict()
    table = table.assign(auc=_class_auc(labels, probabilities), support=support)
    return {"macro": macro, "classes": table.to_dict("index")}


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Returns the bins of a reliability diagram: the confidence of top-1 predictions against their accuracy.

    They hold equal numbers of images (Nguyen and O'Connor 2015), at least BIN_SUPPORT, in up to BINS bins; those of
    equal confidence are in one bin.

    Returns:
        DataFrame: a row per bin: from and to, its lowest and highest confidence, mean confidence, accuracy, low and
        high, the latter's Jeffreys' interval, and support (number of images).
    """
    confidence, correct = _top1(labels, probabilities)
    count = np.clip(len(labels) // BIN_SUPPORT, 1, BINS)
    bins = np.searchsorted(np.quantile(confidence, np.arange(1, count) / count), confidence)
    of_bin = pd.DataFrame({"confidence": confidence, "correct": correct}).groupby(bins)
    right, support = of_bin["correct"].sum(), of_bin.size()
    low, high = intervals.jeffreys(right, support)
    return pd.DataFrame(
        {
            "from": of_bin["confidence"].min(),
            "to": of_bin["confidence"].max(),
            "confidence": of_bin["confidence"].mean(),
            "accuracy": right / support,
            "low": low,
            "high": high,
            "support": support,
        }
    ).reset_index(drop=True)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the expected calibration error (Guo et al. 2017, eq. 3), of ECE_BINS equally wide bins."""
    confidence, correct = _top1(labels, probabilities)
    bins = np.clip(np.ceil(confidence * ECE_BINS), 1, ECE_BINS).astype(int)
    gaps = np.bincount(bins, weights=correct - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def roc(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Returns the ROC curve as a DataFrame: fpr, tpr, threshold.

    With two classes it is that of the second class; with more, the micro average: all one-versus-rest decisions pooled.
    """
    return _roc(*_decisions(labels, probabilities))


def precision_recall(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Returns the precision-recall curve as a DataFrame: recall, rising, precision, threshold; decisions as in `roc`.

    Of thresholds with the same recall the highest stands for all, which has the highest precision: the others would end
    the curve in a fall to the fraction of the class.
    """
    return _precision_recall(*_decisions(labels, probabilities))


def class_curves(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict[str, pd.DataFrame]:
    """Returns the one-versus-rest curves of each class: a few points per image of the class, not one per image of all.

    Returns:
        dict: "roc" and "precision_recall" to what the functions of these names return, after another column, class.
    """
    kinds: dict[str, Callable[..., pd.DataFrame]] = {
        "roc": _roc,
        "precision_recall": _precision_recall,
    }
    curves = {}
    for kind, curve in kinds.items():
        of_class = {name: curve(labels == k, probabilities[:, k]) for k, name in enumerate(classes)}
        curves[kind] = pd.concat(of_class, names=["class"]).reset_index("class")
    return curves


def _one_hot(labels: np.ndarray, class_count: int) -> np.ndarray:
    return labels[:, np.newaxis] == np.arange(class_count)


def _class_auc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the area under the one-versus-rest ROC curve of each class, float64 [C]."""
    return metrics.roc_auc_score(_one_hot(labels, probabilities.shape[1]), probabilities, average=None)


def _roc(truth: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    fpr, tpr, threshold = metrics.roc_curve(truth, scores)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": np.minimum(threshold, 1)})  # the first is infinite


def _precision_recall(truth: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    precision, recall, threshold = metrics.precision_recall_curve(truth, scores)
    table = pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.append(threshold, 1)})
    return table.drop_duplicates("recall", keep="last")[::-1].reset_index(drop=True)


def _top1(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the confidence of top-1 predictions, float64 [N], and whether they are right, bool [N]."""
    return probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels


def _decisions(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns binary truths and their scores, both [N], or [N * C] where there are more than two classes."""
    if probabilities.shape[1] == 2:
        return labels == 1, probabilities[:, 1]
    return _one_hot(labels, probabilities.shape[1]).ravel(), probabilities.ravel()
