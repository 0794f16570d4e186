import numpy as np
import pandas as pd
import pytest

from stages.label_audit import cross_validation, label_errors


def test_ranks_labels_by_hand():
    probabilities = np.array([[0.9, 0.1, 0], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [0, 0.2, 0.8]])
    images = pd.DataFrame({"path": list("pqrs"), "split": "test", "class": list("aabc"), "label": [0, 0, 1, 2]})
    table = label_errors.rank(images, probabilities, ["a", "b", "c"])
    assert table["path"].tolist() == ["q", "r", "s", "p"]
    assert table["suggested"].tolist() == ["b", "c", "c", "a"]
    assert table["quality"].tolist() == pytest.approx([0.2, 0.45, 0.8, 0.9])  # (1 + given - highest other) / 2
    assert table["given_probability"].tolist() == pytest.approx([0.1, 0.3, 0.8, 0.9])
    assert table["suggested_probability"].tolist() == pytest.approx([0.7, 0.4, 0.8, 0.9])


def test_estimates_the_error_rate_from_confident_predictions():
    truth = np.arange(1000) % 2
    given = truth.copy()
    given[:100] = 1 - given[:100]
    of_truth = np.where(np.arange(1000) // 2 % 2, 0.9, 0.6)[:, np.newaxis]
    probabilities = np.where(truth[:, np.newaxis] == [0, 1], of_truth, 1 - of_truth)
    assert label_errors.error_rate(given, np.arange(1000), probabilities) == pytest.approx(0.1)


def clusters(labels, seed=0):
    """Features of unit norm in clusters, one for each label."""
    features = np.eye(labels.max() + 1)[labels] + np.random.default_rng(seed).normal(size=(len(labels), 1)) / 5
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_neighbours_change_what_the_head_says():
    labels = np.arange(60) % 2
    folds = cross_validation.divide(labels, np.arange(60), seed=1)
    unsure = np.full((60, 2), 0.5)
    probabilities = label_errors.average_with_neighbours(unsure, clusters(labels), labels, folds)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(60))
    assert (probabilities.argmax(axis=1) == labels).all()


def test_the_nearest_of_the_neighbours_count_most():
    weights = label_errors._kernel(np.sqrt(2 * np.array([[0.3, 0.4, 0.5]])))  # 1 - cosine similarity of 0.3 to 0.5
    assert weights == pytest.approx(np.exp([[0, -1, -2]]))


def test_fewer_images_than_neighbours():
    labels = np.arange(8) % 2
    folds = cross_validation.divide(labels, np.arange(8), seed=1)
    probabilities = label_errors.average_with_neighbours(np.full((8, 2), 0.5), clusters(labels), labels, folds)
    assert (probabilities.argmax(axis=1) == labels).all()


@pytest.mark.parametrize("classes", [2, 40])
def test_shuffled_labels_have_no_estimate(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(240) % classes
    features = clusters(labels)
    for _ in range(3):
        shuffled = rng.permutation(labels)
        folds = cross_validation.divide(shuffled, np.arange(240), seed=1)
        _, by_head = cross_validation.select_head(features, shuffled, folds)
        probabilities = label_errors.average_with_neighbours(by_head, features, shuffled, folds)
        assert label_errors.error_rate(shuffled, np.arange(240), probabilities) is None


LABELS = np.repeat([0, 1], [60, 40])  # the guess is wrong on 40


@pytest.mark.parametrize(("right", "beats"), [(60 + 19, False), (60 + 20, True), (60 + 40, True), (40, False)])
def test_classifiers_must_avoid_half_of_the_errors_of_a_guess(right, beats):
    assert label_errors.beats_guessing(LABELS, np.arange(100), np.arange(100) < right) == beats


def test_near_duplicates_are_one_piece_of_evidence():
    correct = np.arange(100) < 90
    assert label_errors.beats_guessing(LABELS, np.arange(100), correct)
    few_groups = np.repeat(np.arange(5), [60, 10, 10, 10, 10])  # three groups gain: p is 0.25
    assert not label_errors.beats_guessing(LABELS, few_groups, correct)


@pytest.mark.parametrize(
    ("count", "rate", "text"),
    [
        (0, None, "No label is checked: the cross-validated classifiers hardly beat guessing (accuracy 90.0%)."),
        (0, 0.0, "No label is doubtful, by the cross-validated classifiers (accuracy 90.0%)."),
        (0, 0.01, "No label is doubtful, by the cross-validated classifiers (accuracy 90.0%)."),
        (
            31,
            0.013,
            "31 labels of 2,000 are doubtful; the cross-validated classifiers (accuracy 90.0%) estimate that about 26 "
            "are wrong. The most doubtful come first in labels.csv.",
        ),
        (
            1,
            0.0005,
            "1 label of 2,000 is doubtful; the cross-validated classifiers (accuracy 90.0%) estimate that about 1 is "
            "wrong. The most doubtful come first in labels.csv.",
        ),
        (
            2,
            0.0,
            "2 labels of 2,000 are doubtful; the cross-validated classifiers (accuracy 90.0%) make about as many "
            "mistakes, so perhaps no label is wrong. The most doubtful come first in labels.csv.",
        ),
    ],
)
def test_one_sentence_says_what_the_review_found(count, rate, text):
    assert label_errors.describe_review(count, rate, 0.9, 2000, "labels.csv") == text
    assert "at most" not in text  # an estimate is no bound
