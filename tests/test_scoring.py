import numpy as np
import pytest

from stages.common import scoring

LABELS = np.array([0, 0, 0, 1, 1])
SECOND = np.array([0.1, 0.6, 0.3, 0.5, 0.9])
TWO = np.stack([1 - SECOND, SECOND], axis=1)
THREE = np.array([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])


def test_two_classes_by_hand():
    # Predicted 0 1 0 1 1: one false positive. Of the 6 pairs of a second and a first class, 5 are in the right order.
    assert scoring.score(LABELS, TWO, threshold=0.5) == pytest.approx({
        "accuracy": 4 / 5, "loss": -np.log([0.9, 0.4, 0.7, 0.5, 0.9]).mean(), "auc": 5 / 6,
        "precision": 2 / 3, "recall": 1.0, "f1": 0.8,
    })


def test_the_threshold_is_that_of_the_second_class():
    assert scoring.predict(TWO, 0.6).tolist() == [0, 1, 0, 0, 1]
    assert scoring.score(LABELS, TWO, threshold=0.7)["recall"] == 0.5


def test_three_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    assert scoring.score(labels, THREE, threshold=0.99) == pytest.approx({
        "accuracy": 3 / 4, "loss": -np.log([0.8, 0.2, 0.6, 0.7]).mean(), "auc": np.mean([3 / 4, 1, 1]),
        "precision": np.mean([1, 1, 0.5]), "recall": np.mean([0.5, 1, 1]), "f1": np.mean([2 / 3, 1, 2 / 3]),
    })


def test_a_certain_mistake_has_a_finite_loss():
    assert np.isfinite(scoring.score(np.array([0, 1]), np.array([[0.0, 1.0], [0.2, 0.8]]), 0.5)["loss"])


@pytest.mark.parametrize(("labels", "probabilities"), [(LABELS, TWO), (np.array([0, 0, 1, 2]), THREE)])
def test_curves_run_from_corner_to_corner_and_are_finite(labels, probabilities):
    roc = scoring.roc(labels, probabilities)
    assert roc.iloc[0, :2].tolist() == [0, 0] and roc.iloc[-1, :2].tolist() == [1, 1]
    curve = scoring.precision_recall(labels, probabilities)
    assert curve["recall"].iloc[0] == 1 and curve.iloc[-1, :2].tolist() == [0, 1]
    assert np.isfinite(roc).all(axis=None) and np.isfinite(curve).all(axis=None)


def test_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    scores = scoring.score_classes(labels, THREE, 0.5, ["a", "b.c", "d"])
    assert scores["macro"] == pytest.approx({"precision": np.mean([1, 1, 0.5]), "recall": np.mean([0.5, 1, 1]),
                                             "f1": np.mean([2 / 3, 1, 2 / 3])})
    assert scores["classes"]["a"] == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3, "auc": 3 / 4, "pictures": 2})
    assert list(scores["classes"]) == ["a", "b.c", "d"]
    first = scoring.score_classes(LABELS, TWO, 0.5, ["a", "b"])["classes"]["a"]  # predicted 0 1 0 1 1
    assert first == pytest.approx({"precision": 1, "recall": 2 / 3, "f1": 0.8, "auc": 5 / 6, "pictures": 3})
