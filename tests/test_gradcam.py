import numpy as np
import pytest

from stages.common import gradcam, network
from stages.common.tensorflow import tf

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)


@pytest.fixture(params=[2, 3])
def classifier(request, weights):
    model = network.build(96, request.param, dropout=0.2)
    network.load_base(model, weights)
    return model


def test_above_pooling_and_one_layer_it_is_the_class_activation_map(classifier):
    labels = np.array([0, 1, 1, 0, classifier.output_shape[1] - 1])
    kernel = classifier.get_layer("logits").kernel.numpy()
    if kernel.shape[1] == 1:  # the only logit is that of the second class
        kernel = np.concatenate([-kernel, kernel], axis=1)
    features = classifier.get_layer("base")(PICTURES / np.float32(127.5) - 1).numpy()
    # B. Zhou et al., CVPR 2016: the features of each place, weighted as the last layer weights their mean.
    expected = np.maximum(np.einsum("nyxk,kn->nyx", features, kernel[:, labels]), 0)
    expected = tf.image.resize(expected[..., np.newaxis], [96, 96]).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-9)
    maps = gradcam.maps(classifier, PICTURES, labels)
    assert maps.dtype == np.float32 and maps.shape == (5, 96, 96)
    np.testing.assert_allclose(maps, expected, atol=1e-4)
    assert set(maps.max(axis=(1, 2))) == {0, 1}  # of these pictures, some have nothing that speaks for the class


def test_nothing_is_shown_where_nothing_speaks_for_the_class(classifier):
    dense = classifier.get_layer("logits")
    dense.kernel.assign(-tf.ones_like(dense.kernel))  # the features are never negative
    assert (gradcam.maps(classifier, PICTURES, np.ones(5, int)) == 0).all()


def test_many_pictures_go_through_in_batches(classifier, monkeypatch):
    labels = np.array([0, 1, 1, 0, 1])
    whole = gradcam.maps(classifier, PICTURES, labels)
    monkeypatch.setattr(gradcam, "BATCH", 2)
    np.testing.assert_allclose(gradcam.maps(classifier, PICTURES, labels), whole, atol=1e-5)
    assert gradcam.maps(classifier, PICTURES[:0], labels[:0]).shape == (0, 96, 96)
