import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from stages.evaluation import novelty

RNG = np.random.default_rng(0)


def around(direction, count, size=40):
    """Features of images of a kind: noise around a direction, of any length."""
    return (np.eye(size)[direction] + RNG.normal(0, 0.1, (count, size))) * RNG.uniform(1, 9, (count, 1))


def subspace(count, offset=0.0, size=400):
    """Features that vary in 10 of `size` dimensions, and lie `offset` away from those in another one."""
    features = RNG.normal(0, 0.001, (count, size))
    features[:, :10] += RNG.normal(0, 1, (count, 10))
    features[:, 11] += offset * np.linalg.norm(features, axis=1)
    return features


@pytest.mark.parametrize("count", [19, 20, 39, 40, 400])
def test_at_most_5_percent_of_the_validation_images_are_flagged(count):
    validation = around(0, count)
    flagged = (novelty.fit(around(0, 300), validation).novelty(validation) > 1).sum()
    assert 0.05 * count - 2 <= flagged <= 0.05 * count


@pytest.mark.parametrize(("count", "finite"), [(1, False), (18, False), (19, True), (59, True)])
def test_too_few_validation_images_give_no_threshold_and_flag_nothing(count, finite):
    detector = novelty.fit(around(0, 100), around(0, count))
    assert np.isfinite(detector.threshold) == finite
    assert (detector.novelty(around(1, 9)) > 1).all() == finite and finite or not detector.novelty(around(1, 9)).any()


def test_of_further_images_of_the_kind_about_5_percent_are_flagged():
    """The conformal guarantee holds on average over validation sets, however few images there are."""
    for count in (19, 50):
        flagged = [(novelty.fit(around(0, 50), around(0, count)).novelty(around(0, 200)) > 1).mean() for _ in range(60)]
        assert 0.02 < np.mean(flagged) < 0.065


@pytest.mark.parametrize("count", [2, 4, 5, 300])
def test_images_of_another_kind_are_flagged_and_others_of_the_same_are_not(count):
    train = np.concatenate([around(kind, count) for kind in (0, 1)])
    detector = novelty.fit(train, np.concatenate([around(kind, 200) for kind in (0, 1)]))
    flagged = [(detector.novelty(around(kind, 100)) > 1).mean() for kind in range(4)]
    assert max(flagged[:2]) < 0.15 and min(flagged[2:]) > 0.9


def test_the_components_tell_what_the_distance_to_the_mean_does_not():
    detector = novelty.fit(subspace(200), subspace(100))
    assert (detector.novelty(subspace(100)) > 1).mean() < 0.2 and (detector.novelty(subspace(100, 0.2)) > 1).all()


@pytest.mark.parametrize(
    ("train", "components"),
    [
        (around(0, 1), 0),
        (around(0, 2), 0),
        (around(0, 9), 4),
        (np.repeat(around(0, 9), 30, axis=0), 4),  # near-duplicates span no more
        (np.repeat(around(0, 1), 50, axis=0), 0),
        (around(0, 500), 20),  # half of 40 dimensions
        (around(0, 500, size=300), 64),
        (np.zeros((5, 40)), 0),
    ],
)
def test_at_most_half_of_the_dimensions_that_the_training_images_span_are_components(train, components):
    detector = novelty.fit(train, around(0, 50, train.shape[1]))
    used = detector.components[:components]
    assert detector.components.shape == (64, train.shape[1]) and not detector.components[components:].any()
    np.testing.assert_allclose(used @ used.T, np.eye(components), atol=1e-5)
    assert 0 < detector.threshold < np.inf and np.isfinite(detector.novelty(train)).all()


def test_the_first_components_are_kept():
    detector = novelty.fit(subspace(500), subspace(20))
    assert np.abs(detector.components[:10, 10:]).max() < 0.01


def test_equal_validation_images_do_not_divide_by_0():
    same = np.ones((30, 40))
    detector = novelty.fit(same, same)
    assert not (detector.novelty(same) > 1).any() and (detector.novelty(around(0, 5)) > 1).all()


def test_at_most_so_many_training_images_are_used(monkeypatch):
    monkeypatch.setattr(novelty, "MOST", 50)
    train = np.concatenate([around(kind, 100, 200) for kind in (0, 1, 2)])
    detector = novelty.fit(train, around(0, 30, 200))
    assert set(detector.mean.argsort()[-3:]) == {0, 1, 2} and detector.components.any(axis=1).sum() == 24


def test_any_number_of_threads_gives_the_same_bytes():
    train, validation = around(0, 300, 600), around(0, 100, 600)
    fitted = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            fitted.append(novelty.fit(train, validation))
    for other in fitted[1:]:
        for name, value in fitted[0].variables.items():
            np.testing.assert_array_equal(value, other.variables[name])


@pytest.mark.parametrize("count", [19, 70, 300])
def test_any_number_of_threads_gives_the_same_novelty(count):
    features = np.random.default_rng(count).random((count, 1280), np.float32)
    detector, found = novelty.fit(features, features), []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, "blas"):
            found.append(detector.novelty(features).tobytes())
    assert len(set(found)) == 1


def test_rounding_errors_flag_no_more():
    validation = around(0, 200, 1280)
    detector = novelty.fit(around(0, 300, 1280), validation)
    centred = validation / np.linalg.norm(validation, axis=1, keepdims=True) - detector.mean  # in float64
    squares = (centred**2).sum(axis=1) - ((centred @ detector.components.T) ** 2).sum(axis=1)
    flagged = np.sqrt(squares) > detector.threshold
    np.testing.assert_array_equal(detector.novelty(validation) > 1, flagged)
    assert flagged.sum() == 9  # the 191st of 200 is the threshold
