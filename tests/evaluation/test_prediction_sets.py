import numpy as np
import pytest

from stages.evaluation import prediction_sets
from stages.statistics import coverage

RNG = np.random.default_rng(0)


def of_truth(values, classes=3):
    """Labels of class 0, and probabilities in which it has these values and the others share the rest."""
    values = np.array(values)
    rest = (1 - values[:, np.newaxis]) / (classes - 1)
    return np.zeros(len(values), int), np.concatenate([values[:, np.newaxis], np.repeat(rest, classes - 1, axis=1)], 1)


@pytest.mark.parametrize(("count", "rank"), [(19, 1), (38, 1), (39, 2), (58, 2), (59, 3), (99, 5), (139, 7), (399, 20)])
def test_the_threshold_is_the_quantile_of_split_conformal_prediction(count, rank):
    values = RNG.permutation(np.arange(1, count + 1) / 1000)
    # Of 19 images, the ceil(0.95 * 20) = 19th smallest of 1 - probability: the lowest probability of all.
    assert prediction_sets.fit(*of_truth(values)) == rank / 1000


@pytest.mark.parametrize("count", [1, 5, 18])
def test_of_too_few_validation_images_sets_hold_all_classes(count):
    labels, probabilities = of_truth(np.full(count, 0.9))
    threshold = prediction_sets.fit(labels, probabilities)
    assert threshold == 0 and prediction_sets.members(probabilities, threshold).all()
    scores = prediction_sets.evaluate((labels, probabilities), (labels, probabilities))
    assert scores["set_coverage_low"] == scores["set_coverage_high"] == scores["set_coverage"] == 1
    assert coverage.describe(scores) == "Prediction sets hold all classes: they take 19 validation images or more."


def test_sets_by_hand():
    probabilities = np.array(
        [
            [0.5, 0.3, 0.2],
            [0.2, 0.4, 0.4],
            [0.1, 0.1, 0.8],
            [0.25, 0.35, 0.4],
        ]
    )
    expected = {
        0.3: [[1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 1, 1]],
        0.45: [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]],  # no class reaches it in two: the predicted one belongs
        0.2: [[1, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1]],
    }
    for threshold, members in expected.items():
        assert prediction_sets.members(probabilities, threshold).tolist() == np.array(members, bool).tolist()
    scores = prediction_sets.score(np.array([1, 0, 2, 1]), probabilities, 0.3)
    assert scores == {"set_coverage": 3 / 4, "set_size": 7 / 4}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_probability_equal_to_the_threshold_belongs(dtype):
    labels, probabilities = of_truth(RNG.random(39).astype(dtype))
    assert probabilities.dtype == dtype
    belong = prediction_sets.members(probabilities, prediction_sets.fit(labels, probabilities))
    assert belong[:, 0].sum() >= 38  # all but one: the threshold is the second lowest
    assert belong[probabilities[:, 0] >= np.sort(probabilities[:, 0])[1], 0].all()


@pytest.mark.parametrize(("fitted", "tested"), [(60, 60), (200, 50), (400, 400)])
def test_coverage_varies_as_expected_between_splits(fitted, tested):
    def split(count):  # of three classes, the true one is never the most probable: none belongs as the predicted one
        return of_truth(RNG.random(count) * 0.3)

    low, high = coverage.expected(fitted, tested)
    found = np.array(
        [
            prediction_sets.score(*split(tested), prediction_sets.fit(*split(fitted)))["set_coverage"]
            for _ in range(2000)
        ]
    )
    assert (found < low).mean() < 0.035 and (found > high).mean() < 0.035
    assert ((low < found) & (found < high)).mean() < 0.96  # the bounds themselves are among the values of coverage
    ranks = (fitted + 1) // 20
    assert found.mean() == pytest.approx(1 - ranks / (fitted + 1), abs=0.004)


def test_coverage_is_described_with_its_range():
    scores = {"set_coverage": 0.9489, "set_size": 1.0101, "set_coverage_low": 0.9062, "set_coverage_high": 0.99}
    assert coverage.describe(scores) == (
        "Prediction sets, made to hold the true class in 95% of cases, hold it for 94.9% of the test images, with 1.01 "
        "classes on average. In 95% of splits of this size, the threshold alone gives 90.6% to 99.0% if all images are "
        "independent; groups make it vary more."
    )
