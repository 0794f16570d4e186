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


@pytest.mark.parametrize("classes", [2, 4])
def test_without_a_mistake_it_is_as_sure_as_so_many_images_can_vouch_for(classes):
    labels = np.arange(38) % classes
    logits = 20 * np.eye(classes)[labels]  # all right, and far too sure of it
    scaled = softmax(
        logits / fit_temperature(labels, logits[:, 1:] - logits[:, :1] if classes == 2 else logits), axis=1
    )
    np.testing.assert_allclose(scaled.max(axis=1), 39 / 40, atol=1e-4)


def test_worse_than_guessing_is_bounded():
    assert fit_temperature(np.array([1, 0, 0]), np.array([[-2.0], [3.0], [0.5]])) == pytest.approx(20, rel=0.01)


def test_probabilities_alone_are_enough_to_apply_it():
    _, logits = drawn(1)
    np.testing.assert_allclose(
        scale_probabilities(softmax(logits, axis=1), 2.5), softmax(logits / 2.5, axis=1), atol=1e-6
    )
    assert scale_probabilities(np.array([[0, 1]], np.float32), 20).tolist() == [[pytest.approx(0), pytest.approx(1)]]
