"""Calibration of predicted probabilities: reliability diagram and expected calibration error."""

import numpy as np
import pandas as pd

from stages.common.arrays import Labels, Probabilities
from stages.statistics import intervals

ECE_BINS = 15  # bins of the expected calibration error (Guo et al. 2017)
BINS = 10  # maximum number of bins of the reliability diagram
BIN_SUPPORT = 10  # minimum number of images in each of these


def reliability_bins(labels: Labels, probabilities: Probabilities) -> pd.DataFrame:
    """Returns the bins of a reliability diagram: the confidence of top-1 predictions against their accuracy.

    The bins hold about equal numbers of images (Nguyen and O'Connor 2015), at least BIN_SUPPORT, and images of equal
    confidence are in one bin. A row per bin has its lowest and highest confidence (from and to), their mean
    (confidence), accuracy, Jeffreys' interval of the accuracy (low and high) and support, the number of images.
    """
    confidence, correct = _top1(labels, probabilities)
    count = np.clip(len(labels) // BIN_SUPPORT, 1, BINS)
    bins = np.searchsorted(np.quantile(confidence, np.arange(1, count) / count), confidence)
    of_bin = pd.DataFrame({"confidence": confidence, "correct": correct}).groupby(bins)
    table = of_bin["confidence"].agg(**{"from": "min", "to": "max", "confidence": "mean"})
    right, support = of_bin["correct"].sum(), of_bin.size()
    low, high = intervals.jeffreys(right, support)
    return table.assign(accuracy=right / support, low=low, high=high, support=support).reset_index(drop=True)


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Returns the expected calibration error (Guo et al. 2017, eq. 3), of ECE_BINS equally wide bins."""
    confidence, correct = _top1(labels, probabilities)
    bins = np.clip(np.ceil(confidence * ECE_BINS), 1, ECE_BINS).astype(int)
    gaps = np.bincount(bins, weights=correct - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def _top1(labels: Labels, probabilities: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Returns the confidence of top-1 predictions, float64 [N], and whether they are right, bool [N]."""
    return probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
