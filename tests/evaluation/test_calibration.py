import numpy as np
import pytest
from scipy import stats

from stages.evaluation import calibration


def test_expected_calibration_error_by_hand():
    # Confidences 0.61, 0.65 (one bin of 15, from 0.6 to 2/3) and 1.0 (the last); right are the second and the third.
    second = np.array([0.39, 0.65, 1.0])
    probabilities = np.stack([1 - second, second], axis=1)
    assert calibration.expected_calibration_error(np.array([1, 1, 1]), probabilities) == pytest.approx(2 / 3 * 0.13)


def binary(confidence, correct):
    """Labels and probabilities of two classes, of which the second is predicted."""
    return correct.astype(int), np.stack([1 - confidence, confidence], axis=1)


def test_reliability_bins_hold_equal_numbers_of_images_and_have_intervals():
    confidence = np.linspace(0.55, 0.99, 45)
    bins = calibration.reliability_bins(*binary(confidence, np.arange(45) >= 11))
    assert list(bins.columns) == ["from", "to", "confidence", "accuracy", "low", "high", "support"]
    assert bins["support"].tolist() == [12, 11, 11, 11]
    assert bins.iloc[0, :4].tolist() == pytest.approx([0.55, 0.66, 0.605, 1 / 12])
    assert bins.iloc[0, 4:6].tolist() == pytest.approx(stats.beta.ppf([0.025, 0.975], 1.5, 11.5))  # Jeffreys
    assert bins.iloc[1, 4:6].tolist() == pytest.approx([stats.beta.ppf(0.025, 11.5, 0.5), 1])
    assert calibration.reliability_bins(*binary(confidence[:9], np.arange(9) > 4))["support"].tolist() == [9]
    many = binary(np.linspace(0.55, 0.99, 900), np.arange(900) > 4)
    assert len(calibration.reliability_bins(*many)) == calibration.BINS


def test_images_of_equal_confidence_are_in_one_reliability_bin():
    bins = calibration.reliability_bins(*binary(np.repeat([0.7, 1.0], [20, 80]), np.arange(100) % 4 > 0))
    assert bins[["from", "to", "support"]].values.tolist() == [[0.7, 0.7, 20], [1, 1, 80]]
    assert bins["accuracy"].tolist() == [0.75, 0.75]
