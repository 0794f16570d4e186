import json

import numpy as np
import pytest

from stages.label_audit import cross_validation, learning_curve


def noisy_clusters(labels, noise=0.35):
    features = np.eye(40)[labels] + noise * np.random.default_rng(0).normal(size=(len(labels), 40))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def measure(features, labels, groups=None, seed=1):
    groups = np.arange(len(labels)) if groups is None else groups
    folds = cross_validation.divide(labels, groups, seed)
    head, probabilities = cross_validation.select_head(features, labels, folds)
    return learning_curve.measure(head, probabilities, features, labels, groups, folds, seed)


def test_more_images_help_where_features_are_noisy():
    labels = np.arange(300) % 4
    curve = measure(noisy_clusters(labels), labels)
    assert curve["sizes"] == [32, 60, 120, 240]
    assert curve["accuracy"] == sorted(curve["accuracy"]) and curve["accuracy"][0] < curve["accuracy"][-1]
    for (low, high), accuracy in zip(curve["intervals"], curve["accuracy"], strict=True):
        assert 0 <= low < accuracy < high <= 1
    doubled = curve["doubled"]
    assert doubled["size"] == 480
    assert doubled["accuracy"] == pytest.approx(curve["accuracy"][-1] + doubled["gain"])
    assert 0 < doubled["gain"] < 1 - curve["accuracy"][-1]
    assert doubled["interval"][0] <= doubled["accuracy"] <= doubled["interval"][1] <= 1
    assert doubled["gain_interval"][0] <= doubled["gain"] <= doubled["gain_interval"][1]
    assert json.dumps(curve) == json.dumps(measure(noisy_clusters(labels), labels))
    assert curve != measure(noisy_clusters(labels), labels, seed=2)


def test_nothing_is_extrapolated_from_guessing():
    labels = np.arange(300) % 4
    curve = measure(noisy_clusters(labels), np.random.default_rng(0).permutation(labels))
    assert curve["doubled"] is None and len(curve["sizes"]) == 4


def test_nothing_is_extrapolated_from_few_images():
    labels = np.arange(24) % 4
    curve = measure(noisy_clusters(labels, noise=0.01), labels)
    assert curve["doubled"] is None and curve["accuracy"] == [1, 1]


def test_parts_are_stratified_and_keep_near_duplicates_together():
    rng = np.random.default_rng(0)
    groups = np.arange(240) // 3
    labels = (groups % 4 > 0).astype(int)  # a quarter is of class 0
    order = rng.permutation(80)[groups]
    rows = np.flatnonzero(groups != 5)
    half, quarter = (learning_curve.take(x, rows, labels, order) for x in (1 / 2, 1 / 4))
    assert set(quarter) < set(half) < set(rows)
    assert (np.bincount(groups[half]) % 3 == 0).all()
    assert np.bincount(labels[half]).tolist() == [30, 90]
    smallest = learning_curve.take(0.001, rows, labels, order)
    assert np.bincount(labels[smallest]).tolist() == [3, 3]  # a group of each class


def test_a_power_law_is_extrapolated_as_one():
    sizes = np.array([100, 200, 400, 800])
    errors = 3 * sizes**-0.5
    assert learning_curve.decay(sizes, errors) == pytest.approx(0.5)
    assert learning_curve.decay(sizes, np.full((4, 2), 0.1)) == pytest.approx([0, 0], abs=1e-12)
    assert learning_curve.decay(sizes, errors[::-1]) == 0  # more images are not said to do harm


def test_of_many_images_one_fold_is_tested(monkeypatch):
    labels = np.arange(300) % 4
    folds = cross_validation.divide(labels, np.arange(300), 1)
    head, probabilities = cross_validation.select_head(noisy_clusters(labels), labels, folds)
    monkeypatch.setattr(learning_curve, "LARGE", 50)
    trained = []
    predict = cross_validation.predict
    monkeypatch.setattr(
        cross_validation,
        "predict",
        lambda head, features, labels, folds: (
            trained.append([(len(a), len(b)) for a, b in folds]) or predict(head, features, labels, folds)
        ),
    )
    features, groups = noisy_clusters(labels), np.arange(300)
    curve = learning_curve.measure(head, probabilities, features, labels, groups, folds, 1)
    assert trained == [[(size, 50)] for size in curve["sizes"][:-1]]
    assert curve["doubled"]["size"] == 480
