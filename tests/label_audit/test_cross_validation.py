import numpy as np
import pytest

from stages.label_audit import cross_validation


def test_no_image_gives_away_the_label_of_its_near_duplicate():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(100, 200)), 2, axis=0)  # pairs of noise: only a duplicate tells the label
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels, pairs = np.arange(200) // 2 % 2, np.arange(200) // 2
    accuracy = []
    for groups in (pairs, np.arange(200)):
        folds = cross_validation.divide(labels, groups, seed=1)
        _, probabilities = cross_validation.select_head(features, labels, folds)
        accuracy.append((probabilities.argmax(axis=1) == labels).mean())
    assert accuracy[0] < 0.65 and accuracy[1] > 0.85


def test_the_smallest_class_has_a_group_for_each_fold():
    labels = np.repeat([0, 1], 20)
    groups = np.array([*range(20), *np.arange(20) % 3 + 100])
    assert len(cross_validation.divide(labels, groups, seed=1)) == 3
    assert len(cross_validation.divide(labels, np.arange(40), seed=1)) == cross_validation.FOLDS


def test_every_image_is_tested_once_by_a_classifier_that_knows_every_class():
    labels, features = np.repeat(np.arange(200), 3), np.random.default_rng(0).normal(size=(600, 10))
    folds = cross_validation.divide(labels, np.arange(600), seed=1)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(600))
    _, probabilities = cross_validation.select_head(features, labels, folds)
    assert probabilities.shape == (600, 200) and (probabilities > 0).all()


@pytest.mark.parametrize(("noise", "chosen"), [(0.02, 100), (0.9, 1)])
def test_noisy_features_are_penalized_more(noise, chosen):
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 4
    features = np.eye(30)[labels] + noise * rng.normal(size=(100, 30))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    folds = cross_validation.divide(labels, np.arange(100), seed=1)
    head, probabilities = cross_validation.select_head(features, labels, folds)
    assert chosen == head.C
    assert np.array_equal(probabilities, cross_validation.predict(head, features, labels, folds))


def test_of_many_images_only_the_choice_is_made_on_one_fold(monkeypatch):
    labels = np.arange(60) % 2
    features = np.eye(2)[labels] + np.random.default_rng(0).normal(size=(60, 2)) / 5
    folds = cross_validation.divide(labels, np.arange(60), seed=1)
    fitted = []
    fit = cross_validation.LogisticRegression.fit
    monkeypatch.setattr(
        cross_validation.LogisticRegression, "fit", lambda self, *data: fitted.append(self.C) or fit(self, *data)
    )
    monkeypatch.setattr(cross_validation, "LARGE", 59)
    head, probabilities = cross_validation.select_head(features, labels, folds)
    assert fitted == [*cross_validation.INVERSE_PENALTIES, *[head.C] * 5]
    assert (probabilities.sum(axis=1) > 0.999).all()
