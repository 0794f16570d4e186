import numpy as np
import pytest
from scipy.special import softmax

from stages.model.temperature import fit_temperature, scale_probabilities


def drawn(temperature, count=4000, classes=3):
    """Logits, and labels drawn from what they say when divided by `temperature`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (count, classes))
    labels = (softmax(logits / temperature, axis=1).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return labels, logits.astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
@pytest.mark.parametrize("classes", [2, 3])
def test_finds_the_temperature_that_the_labels_were_drawn_with(temperature, classes):
    labels, logits = drawn(temperature, classes=classes)
    if classes == 2:  # the network then has the logit of the second class alone
        logits = logits[:, 1:] - logits[:, :1]
    assert fit_temperature(labels, logits) == pytest.approx(temperature, rel=0.1)


def few(mistakes, count=40):
    """Labels and logits of images that are all confident, and right but for some."""
    labels = np.arange(count) % 2
    logits = np.where(labels == 1, 6.0, -6.0)[:, np.newaxis]
    logits[:mistakes] *= -1
    return labels, logits


def test_few_images_change_little_and_many_decide():
    assert 0.8 < fit_temperature(*few(0)) < 1  # all are right: without a prior it would be near 0
    assert 1 < fit_temperature(*few(1)) < 1.6  # one is wrong: without a prior, 1.64
    labels, logits = few(1)
    many = np.tile(labels, 100), np.tile(logits, (100, 1))
    assert fit_temperature(*many) == pytest.approx(6 / np.log(39), rel=0.01)  # so that 39 of 40 are right


def test_worse_than_guessing_is_bounded():
    labels, logits = np.tile([1, 0], 10_000), np.tile([[-5.0], [5.0]], (10_000, 1))
    assert fit_temperature(labels, logits) == pytest.approx(20, rel=0.01)


def test_probabilities_alone_are_enough_to_apply_it():
    _, logits = drawn(1)
    np.testing.assert_allclose(
        scale_probabilities(softmax(logits, axis=1), 2.5), softmax(logits / 2.5, axis=1), atol=1e-6
    )
    assert scale_probabilities(np.array([[0, 1]], np.float32), 20).tolist() == [[pytest.approx(0), pytest.approx(1)]]
