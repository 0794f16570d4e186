import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from stages.common.cli import UserError
from stages.evaluation import metrics

LABELS = np.array([0, 0, 0, 1, 1])
SECOND = np.array([0.1, 0.6, 0.3, 0.5, 0.9])
TWO = np.stack([1 - SECOND, SECOND], axis=1)
THREE = np.array([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])


def test_two_classes_by_hand():
    # Predicted 0 1 0 1 1: one false positive. Of the 6 pairs of a second and a first class, 5 are in the right order.
    assert metrics.score(LABELS, TWO, threshold=0.5) == pytest.approx(
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
    assert metrics.predicted_labels(TWO, 0.6).tolist() == [0, 1, 0, 0, 1]
    assert metrics.score(LABELS, TWO, threshold=0.7)["recall"] == 0.5


def test_three_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    assert metrics.score(labels, THREE, threshold=0.99) == pytest.approx(
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
    assert np.isfinite(metrics.score(np.array([0, 1]), np.array([[0.0, 1.0], [0.2, 0.8]]), 0.5)["loss"])


@pytest.mark.parametrize(("labels", "probabilities"), [(LABELS, TWO), (np.array([0, 0, 1, 2]), THREE)])
def test_curves_run_from_corner_to_corner_and_are_finite(labels, probabilities):
    roc = metrics.roc(labels, probabilities)
    assert roc.iloc[0, :2].tolist() == [0, 0] and roc.iloc[-1, :2].tolist() == [1, 1]
    curve = metrics.precision_recall(labels, probabilities)
    assert curve.iloc[0, :2].tolist() == [0, 1] and curve["recall"].iloc[-1] == 1
    assert np.isfinite(roc).all(axis=None) and np.isfinite(curve).all(axis=None)


def test_classes_by_hand():
    labels = np.array([0, 0, 1, 2])  # predicted 0 2 1 2
    scores = metrics.score_classes(labels, THREE, 0.5, ["a", "b.c", "d"])
    assert scores["macro"] == pytest.approx(
        {"precision": np.mean([1, 1, 0.5]), "recall": np.mean([0.5, 1, 1]), "f1": np.mean([2 / 3, 1, 2 / 3])}
    )
    assert scores["classes"]["a"] == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "auc": 3 / 4, "support": 2}
    )
    assert list(scores["classes"]) == ["a", "b.c", "d"]
    first = metrics.score_classes(LABELS, TWO, 0.5, ["a", "b"])["classes"]["a"]  # predicted 0 1 0 1 1
    assert first == pytest.approx({"precision": 1, "recall": 2 / 3, "f1": 0.8, "auc": 5 / 6, "support": 3})


def test_with_more_than_five_classes_there_is_top_5_accuracy():
    probabilities = np.array([[0.3, 0.2, 0.15, 0.14, 0.11, 0.1]] * 6)
    assert metrics.score(np.arange(6), probabilities, 0.5)["top5_accuracy"] == 5 / 6
    assert "top5_accuracy" not in metrics.score(np.array([0, 0, 1, 2]), THREE, 0.5)


def test_max_f1_and_precision_choose_thresholds_between_images():
    # By falling probability of the second class, the labels are 1 1 0 1 0 0: F1 is highest with the first four.
    labels, second = np.array([1, 1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.6, 0.5, 0.2, 0.1])
    probabilities = np.stack([1 - second, second], axis=1)
    assert metrics.choose_threshold(labels, probabilities, "max_f1", "frozen") == pytest.approx(0.35)
    assert metrics.choose_threshold(labels, probabilities, "precision>=0.75", "frozen") == pytest.approx(0.35)
    assert metrics.choose_threshold(labels, probabilities, "precision>=0.76", "frozen") == pytest.approx(0.7)
    assert metrics.choose_threshold(labels, probabilities, "precision>=0.5", "frozen") == pytest.approx(0.05)
    with pytest.raises(UserError, match="that the frozen model reaches on the validation split is 0.5000"):
        metrics.choose_threshold(1 - labels, probabilities, "precision>=0.9", "frozen")


def test_a_threshold_separates_two_neighbouring_probabilities():
    second = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1))], np.float32)
    probabilities = np.stack([1 - second, second], axis=1)
    threshold = metrics.choose_threshold(np.array([0, 1]), probabilities, "max_f1", "frozen")
    assert metrics.predicted_labels(probabilities, threshold).tolist() == [0, 1]


def test_expected_calibration_error_by_hand():
    # Confidences 0.61, 0.65 (one bin of 15, from 0.6 to 2/3) and 1.0 (the last); right are the second and the third.
    second = np.array([0.39, 0.65, 1.0])
    probabilities = np.stack([1 - second, second], axis=1)
    assert metrics.expected_calibration_error(np.array([1, 1, 1]), probabilities) == pytest.approx(2 / 3 * 0.13)


def binary(confidence, correct):
    """Labels and probabilities of two classes, of which the second is predicted."""
    return correct.astype(int), np.stack([1 - confidence, confidence], axis=1)


def test_reliability_bins_hold_equal_numbers_of_images_and_have_intervals():
    confidence = np.linspace(0.55, 0.99, 45)
    bins = metrics.reliability_bins(*binary(confidence, np.arange(45) >= 11))
    assert list(bins.columns) == ["from", "to", "confidence", "accuracy", "low", "high", "support"]
    assert bins["support"].tolist() == [12, 11, 11, 11]
    assert bins.iloc[0, :4].tolist() == pytest.approx([0.55, 0.66, 0.605, 1 / 12])
    assert bins.iloc[0, 4:6].tolist() == pytest.approx(stats.beta.ppf([0.025, 0.975], 1.5, 11.5))  # Jeffreys
    assert bins.iloc[1, 4:6].tolist() == pytest.approx([stats.beta.ppf(0.025, 11.5, 0.5), 1])
    assert metrics.reliability_bins(*binary(confidence[:9], np.arange(9) > 4))["support"].tolist() == [9]
    assert len(metrics.reliability_bins(*binary(np.linspace(0.55, 0.99, 900), np.arange(900) > 4))) == metrics.BINS


def test_images_of_equal_confidence_are_in_one_reliability_bin():
    bins = metrics.reliability_bins(*binary(np.repeat([0.7, 1.0], [20, 80]), np.arange(100) % 4 > 0))
    assert bins[["from", "to", "support"]].values.tolist() == [[0.7, 0.7, 20], [1, 1, 80]]
    assert bins["accuracy"].tolist() == [0.75, 0.75]


def test_precision_recall_rises_in_recall_and_ends_at_the_best_threshold_of_full_recall():
    second = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    truth = np.array([1, 0, 1, 0, 0, 0])  # by falling probability: all are found by 0.7, with a precision of 2/3
    curve = metrics.precision_recall(truth, np.stack([1 - second, second], axis=1))
    assert curve["recall"].tolist() == [0, 0.5, 1] and curve["precision"].tolist() == pytest.approx([1, 1, 2 / 3])
    assert curve["threshold"].tolist() == [1, 0.9, 0.7]


@pytest.mark.parametrize("seed", range(3))
def test_the_average_precision_of_the_curve_is_that_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    truth, second = rng.integers(0, 2, 60), rng.integers(0, 20, 60) / 20  # with ties
    curve = metrics.precision_recall(truth, np.stack([1 - second, second], axis=1))
    area = np.sum(np.diff(curve["recall"]) * curve["precision"][1:])
    assert area == pytest.approx(average_precision_score(truth, second))


def test_the_curves_of_a_class_are_one_versus_rest():
    labels = np.array([0, 0, 1, 2])
    curves = metrics.class_curves(labels, THREE, ["a", "NA", "c"])
    for name, curve in curves.items():
        assert curve["class"].unique().tolist() == ["a", "NA", "c"]
        of_second = curve[curve["class"] == "NA"].drop(columns="class").reset_index(drop=True)
        alone = getattr(metrics, name)((labels == 1).astype(int), np.stack([1 - THREE[:, 1], THREE[:, 1]], axis=1))
        assert of_second.iloc[[0, -1]].values.tolist() == alone.iloc[[0, -1]].values.tolist()
    assert list(curves["roc"].columns) == ["class", "fpr", "tpr", "threshold"]
