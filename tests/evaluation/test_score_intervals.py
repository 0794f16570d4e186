import numpy as np
import pytest
from scipy import stats

from stages.evaluation import score_intervals, scores


def made_up(count, classes, apart, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += apart
    exponentials = np.exp(logits)
    return labels, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def measured(labels, probabilities, groups=None):
    """Returns the scores, the class scores and the intervals."""
    predicted, names = scores.predict(probabilities, 0.5), [str(k) for k in range(probabilities.shape[1])]
    overall, by_class = scores.score(labels, predicted, probabilities, names)
    groups = np.arange(len(labels)) if groups is None else groups
    found = score_intervals.confidence_intervals(labels, predicted, probabilities, groups, overall, by_class)
    return overall, by_class, found


def jeffreys(right, count):
    return stats.beta.ppf([0.025, 0.975], right + 0.5, count - right + 0.5)


def test_without_near_duplicates_a_proportion_has_jeffreys_interval():
    labels, probabilities = made_up(200, 2, 2)
    overall, _, found = measured(labels, probabilities)
    right = round(overall["accuracy"] * 200)
    assert 150 < right < 195
    np.testing.assert_allclose(found["accuracy"], jeffreys(right, 200), atol=0.005)
    recalled = round(overall["recall"] * 100)
    np.testing.assert_allclose(found["recall"], jeffreys(recalled, 100), atol=0.01)


def test_all_correct_is_not_certain():
    _, _, found = measured(*made_up(40, 2, 50))
    assert found["accuracy"] == [pytest.approx(jeffreys(40, 40)[0], abs=0.006), 1]
    for metric in ("auc", "precision", "recall", "f1"):
        assert 0.85 < found[metric][0] < 0.96 and found[metric][1] == 1
    assert found["classes"]["0"]["auc"][0] < 0.96


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_score_has_an_interval_and_lies_in_it(classes):
    for count, apart in ((2 * classes, 0), (60, 1), (60, 50)):
        overall, by_class, found = measured(*made_up(count, classes, apart))
        assert found["loss"][0] <= overall.pop("loss") <= found["loss"][1]  # may be 0 for all images
        pairs = [(overall[name], found[name]) for name in overall]
        pairs += [(value, found["macro"][name]) for name, value in by_class["macro"].items()]
        pairs += [
            (values[metric], found["classes"][name][metric])
            for name, values in by_class["classes"].items()
            for metric in ("precision", "recall", "f1", "auc")
        ]
        assert len(pairs) == 5 + (classes > 5) + 3 + 4 * classes
        for score, (low, high) in pairs:
            assert low <= score <= high and low < high


def test_near_duplicates_of_every_image_are_no_more_evidence():
    labels, probabilities = made_up(50, 2, 2)
    _, _, once = measured(labels, probabilities)
    _, _, copied = measured(np.repeat(labels, 4), np.repeat(probabilities, 4, axis=0), np.repeat(np.arange(50), 4))
    _, _, more = measured(np.repeat(labels, 4), np.repeat(probabilities, 4, axis=0))
    for metric in ("accuracy", "loss", "auc", "precision", "recall", "f1"):
        np.testing.assert_allclose(copied[metric], once[metric], atol=0.02)
        assert more[metric][1] - more[metric][0] < 0.7 * (once[metric][1] - once[metric][0])


def test_many_small_classes_do_not_bias_the_macro_average():
    labels, probabilities = made_up(120, 40, 50)
    overall, _, found = measured(labels, probabilities)
    assert overall["f1"] == 1 and found["f1"][0] > 0.96
    never = np.where(np.arange(40) < 12, 0, probabilities)  # of the first 12 classes, none is ever predicted
    overall, _, found = measured(labels, never)
    assert overall["precision"] < 0.72 and found["precision"][1] < overall["precision"] + 0.05
    assert found["classes"]["0"]["precision"][1] > 0.9  # of that one class, nothing is known


def test_the_auc_varies_as_with_the_exact_bootstrap():
    labels, probabilities = made_up(100, 2, 1)
    _, _, found = measured(labels, probabilities)
    second = probabilities[:, 1]
    ordered = second[labels == 1][:, np.newaxis] > second[labels == 0]  # pairs
    positive, negative = np.random.default_rng(1).standard_exponential((2, 5000, 50))
    replicates = (positive @ ordered * negative).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    np.testing.assert_allclose(found["auc"], np.quantile(replicates, [0.025, 0.975]), atol=0.025)


def test_the_same_predictions_have_the_same_intervals():
    predictions = made_up(60, 7, 1)
    assert measured(*predictions)[2] == measured(*predictions)[2]
