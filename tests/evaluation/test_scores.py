import numpy as np
import pytest

from stages.common.cli import UserError
from stages.evaluation import scores

LABELS = np.array([0, 0, 0, 1, 1])
SECOND = np.array([0.1, 0.6, 0.3, 0.5, 0.9])
TWO = np.stack([1 - SECOND, SECOND], axis=1)
THREE = np.array([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])


def overall(labels, predicted, probabilities):
    return scores.score(labels, predicted, probabilities, list("abcdef")[: probabilities.shape[1]])[0]


def test_two_classes_by_hand():
    # Predicted 0 1 0 1 1: one false positive. Of the 6 pairs of a second and a first class, 5 are in the right order.
    assert overall(LABELS, scores.predict(TWO, 0.5), TWO) == pytest.approx(
        {
            "accuracy": 4 / 5,
            "loss": -np.log([0.9, 0.4, 0.7, 0.5, 0.9]).mean(),
            "auc": 5 / 6,
            "precision": 2 / 3,
            "recall": 1.0,
            "f1": 0.8,
        }
    )


def test_the_threshold_is_that_of_the_second_class():
    assert scores.predict(TWO, 0.6).tolist() == [0, 1, 0, 0, 1]
    assert overall(LABELS, scores.predict(TWO, 0.7), TWO)["recall"] == 0.5


def test_three_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    assert overall(labels, scores.predict(THREE, 0.99), THREE) == pytest.approx(
        {
            "accuracy": 3 / 4,
            "loss": -np.log([0.8, 0.2, 0.6, 0.7]).mean(),
            "auc": np.mean([3 / 4, 1, 1]),
            "precision": np.mean([1, 1, 0.5]),
            "recall": np.mean([0.5, 1, 1]),
            "f1": np.mean([2 / 3, 1, 2 / 3]),
        }
    )


def test_a_certain_mistake_has_a_finite_loss():
    probabilities = np.array([[0.0, 1.0], [0.2, 0.8]])
    assert np.isfinite(overall(np.array([0, 1]), np.array([1, 1]), probabilities)["loss"])


def test_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    _, found = scores.score(labels, scores.predict(THREE, 0.5), THREE, ["a", "b.c", "d"])
    assert found["macro"] == pytest.approx(
        {"precision": np.mean([1, 1, 0.5]), "recall": np.mean([0.5, 1, 1]), "f1": np.mean([2 / 3, 1, 2 / 3])}
    )
    assert found["classes"]["a"] == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "auc": 3 / 4, "support": 2}
    )
    assert list(found["classes"]) == ["a", "b.c", "d"]
    _, of_two = scores.score(LABELS, np.array([0, 1, 0, 1, 1]), TWO, ["a", "b"])
    assert of_two["classes"]["a"] == pytest.approx(
        {"precision": 1, "recall": 2 / 3, "f1": 0.8, "auc": 5 / 6, "support": 3}
    )


def test_with_more_than_five_classes_there_is_top_5_accuracy():
    probabilities = np.array([[0.3, 0.2, 0.15, 0.14, 0.11, 0.1]] * 6)
    assert overall(np.arange(6), np.zeros(6, int), probabilities)["top5_accuracy"] == 5 / 6
    assert "top5_accuracy" not in overall(np.array([0, 0, 1, 2]), scores.predict(THREE, 0.5), THREE)


def test_max_f1_and_precision_choose_thresholds_between_images():
    # By falling probability of the second class, the labels are 1 1 0 1 0 0: F1 is highest with the first four.
    labels, second = np.array([1, 1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.6, 0.5, 0.2, 0.1])
    probabilities = np.stack([1 - second, second], axis=1)
    assert scores.choose_threshold(labels, probabilities, "max_f1", "frozen") == pytest.approx(0.35)
    assert scores.choose_threshold(labels, probabilities, "precision>=0.75", "frozen") == pytest.approx(0.35)
    assert scores.choose_threshold(labels, probabilities, "precision>=0.76", "frozen") == pytest.approx(0.7)
    assert scores.choose_threshold(labels, probabilities, "precision>=0.5", "frozen") == pytest.approx(0.05)
    with pytest.raises(UserError, match="that the frozen model reaches on the validation split is 0.5000"):
        scores.choose_threshold(1 - labels, probabilities, "precision>=0.9", "frozen")


def test_a_threshold_separates_two_neighbouring_probabilities():
    second = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    probabilities = np.stack([1 - second, second], axis=1)
    threshold = scores.choose_threshold(np.array([0, 1]), probabilities, "max_f1", "frozen")
    assert scores.predict(probabilities, threshold).tolist() == [0, 1]
