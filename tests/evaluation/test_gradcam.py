import numpy as np
import pytest
import tensorflow as tf

from stages.evaluation import gradcam
from stages.model import network, saved_model

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)


@pytest.fixture(scope="module", params=[2, 3])
def classifier(request, weights):
    """A network of which about half of the last layer's weights speak for a class."""
    model = network.build(96, request.param)
    network.load_base(model, weights)
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.1, kernel.shape))
    return model


def explain(classifier, images, labels):
    base = classifier.get_layer("base")
    return gradcam.maps(
        lambda pixels: base(pixels / np.float32(127.5) - 1), classifier.weights[-2].value, images, labels
    )


def test_it_weighs_the_feature_maps_by_the_mean_gradients_of_the_logit(classifier, tmp_path):
    count = max(2, classifier.output_shape[1])
    labels = np.array([0, 1, 1, 0, count - 1])
    with tf.GradientTape() as tape:
        features = classifier.get_layer("base")(IMAGES / np.float32(127.5) - 1)
        tape.watch(features)
        logits = classifier.get_layer("logits")(tf.reduce_mean(features, axis=[1, 2]))
        if logits.shape[1] == 1:  # the only logit is that of the second class
            logits = tf.concat([-logits, logits], axis=1)
        asked = tf.gather(logits, labels, batch_dims=1)
    gradients = tf.reduce_mean(tape.gradient(asked, features), axis=[1, 2], keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(gradients * features, axis=3, keepdims=True))
    expected = tf.image.resize(expected, [96, 96]).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-9)
    maps = explain(classifier, IMAGES, labels)
    assert maps.dtype == np.float32 and maps.shape == (5, 96, 96)
    np.testing.assert_allclose(maps, expected, atol=1e-3)  # sums of 1,280 terms of either sign, in another order
    assert (maps.max(axis=(1, 2)) == 1).sum() >= 2  # the others may have nothing that speaks for the class

    saved_model.save(classifier, list("abc")[:count], 1.0, tmp_path / "model")
    model = saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(gradcam.maps(model.feature_maps, model.weights[-2], IMAGES, labels), maps, atol=1e-3)


def test_nothing_is_shown_where_nothing_speaks_for_the_class(classifier):
    features = tf.ones([5, 3, 3, 1280])
    maps = gradcam.maps(lambda pixels: features, -tf.ones_like(classifier.weights[-2]), IMAGES, np.ones(5, int))
    assert (maps == 0).all()


def test_many_images_go_through_in_batches(classifier, monkeypatch):
    labels = np.array([0, 1, 1, 0, 1])
    whole = explain(classifier, IMAGES, labels)
    monkeypatch.setattr(gradcam, "BATCH", 2)
    np.testing.assert_allclose(explain(classifier, IMAGES, labels), whole, atol=1e-3)
    assert explain(classifier, IMAGES[:0], labels[:0]).shape == (0, 96, 96)
