import numpy as np
import pytest
import tensorflow as tf

from stages.evaluation import gradcam
from stages.model import network, saved_model

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
FILTERS = np.random.default_rng(1).normal(size=(8, 8, 3, 20)).astype(np.float32)


def feature_maps(pixels):
    """Stands for the base of a network: float32 [N, 4, 4, 20], none below 0."""
    return tf.nn.relu(tf.nn.conv2d(tf.cast(pixels, tf.float32) / 127.5 - 1, FILTERS, 8, "VALID"))


def random_kernel(outputs):
    """Of a head: about half of its weights are evidence for a class."""
    return tf.constant(np.random.default_rng(2).normal(0, 0.1, (20, outputs)), tf.float32)


@pytest.mark.parametrize(("outputs", "labels"), [(1, [0, 1, 1, 0, 1]), (3, [0, 1, 1, 0, 2])])
def test_it_weights_the_feature_maps_by_the_mean_gradients_of_the_logit(outputs, labels):
    kernel = random_kernel(outputs)
    with tf.GradientTape() as tape:
        features = feature_maps(IMAGES)
        tape.watch(features)
        logits = tf.reduce_mean(features, axis=[1, 2]) @ kernel
        if outputs == 1:  # the only logit is that of the second class
            logits = tf.concat([-logits, logits], axis=1)
        explained = tf.gather(logits, labels, batch_dims=1)
    gradients = tf.reduce_mean(tape.gradient(explained, features), axis=[1, 2], keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(gradients * features, axis=3, keepdims=True))
    expected = tf.image.resize(expected, [32, 32]).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-9)
    heat_maps = gradcam.heat_maps(feature_maps, kernel, IMAGES, np.array(labels))
    assert heat_maps.dtype == np.float32 and heat_maps.shape == (5, 32, 32)
    np.testing.assert_allclose(heat_maps, expected, atol=1e-5)
    assert (heat_maps.max(axis=(1, 2)) == 1).sum() >= 2  # the others may have no evidence for the class


@pytest.mark.parametrize("class_count", [2, 3])
def test_a_saved_model_has_the_heat_maps_of_its_network(shallow, tmp_path, class_count):
    classifier = network.build(32, class_count)
    base, kernel = classifier.get_layer("base"), classifier.get_layer("logits").kernel
    saved_model.save(classifier, list("abc")[:class_count], 1.0, tmp_path / "model")
    model = saved_model.load(tmp_path / "model")
    labels = np.array([0, 1, 1, 0, class_count - 1])
    expected = gradcam.heat_maps(lambda pixels: base(pixels / np.float32(127.5) - 1), kernel.value, IMAGES, labels)
    assert expected.any()
    heat_maps = gradcam.heat_maps(lambda x: model.predict(x)["feature_maps"], model.weights[-2], IMAGES, labels)
    np.testing.assert_allclose(heat_maps, expected, atol=1e-3)  # sums of 1,280 terms of either sign, in another order


def test_it_is_0_where_there_is_no_evidence_for_the_class():
    heat_maps = gradcam.heat_maps(lambda pixels: tf.ones([5, 4, 4, 20]), -tf.ones([20, 1]), IMAGES, np.ones(5, int))
    assert heat_maps.shape == (5, 32, 32) and (heat_maps == 0).all()


def test_many_images_are_computed_in_batches(monkeypatch):
    labels, sizes = np.array([0, 1, 1, 0, 1]), []
    at_once = gradcam.heat_maps(feature_maps, random_kernel(3), IMAGES, labels)
    monkeypatch.setattr(gradcam, "BATCH", 2)

    def counted(pixels):
        sizes.append(len(pixels))
        return feature_maps(pixels)

    np.testing.assert_allclose(gradcam.heat_maps(counted, random_kernel(3), IMAGES, labels), at_once, atol=1e-5)
    assert sizes == [2, 2, 1]


def test_there_may_be_no_images():
    assert gradcam.heat_maps(feature_maps, random_kernel(1), IMAGES[:0], np.zeros(0, int)).shape == (0, 32, 32)
