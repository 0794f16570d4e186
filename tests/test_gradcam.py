import numpy as np
import pytest

from stages.common import gradcam, network
from stages.common.tensorflow import tf

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)


@pytest.fixture(scope="module", params=[2, 3])
def classifier(request, weights):
    model = network.build(96, request.param)
    network.load_base(model, weights)
    return model


@pytest.fixture
def kernel(classifier):
    """The last layer's weights, of which about half speak for a class."""
    variable = classifier.get_layer("logits").kernel
    variable.assign(np.random.default_rng(1).normal(0, 0.1, variable.shape))
    return variable


def test_above_pooling_and_one_layer_it_is_the_class_activation_map(classifier, kernel):
    labels = np.array([0, 1, 1, 0, classifier.output_shape[1] - 1])
    weighting = kernel.numpy()
    if weighting.shape[1] == 1:  # the only logit is that of the second class
        weighting = np.concatenate([-weighting, weighting], axis=1)
    features = classifier.get_layer("base")(PICTURES / np.float32(127.5) - 1).numpy()
    # B. Zhou et al., CVPR 2016: the features of each place, weighted as the last layer weights their mean.
    expected = np.maximum(np.einsum("nyxk,kn->nyx", features, weighting[:, labels]), 0)
    expected = tf.image.resize(expected[..., np.newaxis], [96, 96]).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-9)
    maps = gradcam.maps(classifier, PICTURES, labels)
    assert maps.dtype == np.float32 and maps.shape == (5, 96, 96)
    np.testing.assert_allclose(maps, expected, atol=1e-3)  # sums of 1,280 terms of either sign, in another order
    assert (maps.max(axis=(1, 2)) == 1).sum() >= 2  # the others may have nothing that speaks for the class


def test_nothing_is_shown_where_nothing_speaks_for_the_class(classifier, kernel):
    kernel.assign(-tf.ones_like(kernel))  # the features are never negative
    assert (gradcam.maps(classifier, PICTURES, np.ones(5, int)) == 0).all()


def test_many_pictures_go_through_in_batches(classifier, kernel, monkeypatch):
    labels = np.array([0, 1, 1, 0, 1])
    whole = gradcam.maps(classifier, PICTURES, labels)
    monkeypatch.setattr(gradcam, "BATCH", 2)
    np.testing.assert_allclose(gradcam.maps(classifier, PICTURES, labels), whole, atol=1e-3)
    assert gradcam.maps(classifier, PICTURES[:0], labels[:0]).shape == (0, 96, 96)
