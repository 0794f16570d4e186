import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from stages.evaluation import curves

SECOND = np.array([0.1, 0.6, 0.3, 0.5, 0.9])
TWO = np.stack([1 - SECOND, SECOND], axis=1)
THREE = np.array([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])


@pytest.mark.parametrize(("labels", "probabilities"), [([0, 0, 0, 1, 1], TWO), ([0, 0, 1, 2], THREE)])
def test_curves_run_from_corner_to_corner_and_are_finite(labels, probabilities):
    decisions = curves.decisions(np.array(labels), probabilities)
    roc = curves.roc(*decisions)
    assert roc.iloc[0, :2].tolist() == [0, 0] and roc.iloc[-1, :2].tolist() == [1, 1]
    curve = curves.precision_recall(*decisions)
    assert curve.iloc[0, :2].tolist() == [0, 1] and curve["recall"].iloc[-1] == 1
    assert np.isfinite(roc).all(axis=None) and np.isfinite(curve).all(axis=None)


def test_precision_recall_rises_in_recall_and_ends_at_the_best_threshold_of_full_recall():
    second = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    truth = np.array([1, 0, 1, 0, 0, 0])  # by falling probability: all are found by 0.7, with a precision of 2/3
    curve = curves.precision_recall(truth, second)
    assert curve["recall"].tolist() == [0, 0.5, 1] and curve["precision"].tolist() == pytest.approx([1, 1, 2 / 3])
    assert curve["threshold"].tolist() == [1, 0.9, 0.7]


@pytest.mark.parametrize("seed", range(3))
def test_the_average_precision_of_the_curve_is_that_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    truth, second = rng.integers(0, 2, 60), rng.integers(0, 20, 60) / 20  # with ties
    curve = curves.precision_recall(truth, second)
    area = np.sum(np.diff(curve["recall"]) * curve["precision"][1:])
    assert area == pytest.approx(average_precision_score(truth, second))


@pytest.mark.parametrize("curve", [curves.roc, curves.precision_recall])
def test_the_curves_of_a_class_are_one_versus_rest(curve):
    labels = np.array([0, 0, 1, 2])
    table = curves.by_class(curve, labels, THREE, ["a", "NA", "c"])
    assert table["class"].unique().tolist() == ["a", "NA", "c"]
    of_second = table[table["class"] == "NA"].drop(columns="class").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_second, curve(labels == 1, THREE[:, 1]))
    assert table.columns[0] == "class"
