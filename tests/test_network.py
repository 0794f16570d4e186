import h5py
import numpy as np
import pytest

from stages.common import network
from stages.common.command import UserError
from stages.common.tensorflow import keras


def test_is_keras_own_mobilenet_v2_with_its_preprocessing(weights):
    model = network.build(32, 2, dropout=0.2)
    network.load_base(model, weights)
    reference = network.mobilenet_v2(32)
    reference.load_weights(weights)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    features = reference(keras.applications.mobilenet_v2.preprocess_input(pictures.astype("float32")), training=False)
    dense = model.get_layer("logits")
    expected = dense(features.numpy().mean(axis=(1, 2)))
    np.testing.assert_allclose(model(pictures.astype("float32"), training=False), expected, rtol=1e-4, atol=1e-5)


def test_one_logit_for_two_classes_and_as_many_as_classes_for_more():
    assert network.build(32, 2, 0.2).output_shape == (None, 1)
    assert network.build(32, 3, 0.2).output_shape == (None, 3)


def test_refreezing_and_thawing_act_layer_by_layer():
    model = network.build(32, 2, dropout=0.2)
    for index in (154, 120, 100, 150):
        words = network.train_from(model, index)
        learning = [layer.trainable for layer in model.get_layer("base").layers]
        assert learning == [number >= index for number in range(154)]
    network.train_from(model, 120)
    assert network.train_from(model, 120).startswith(
        "training from layer 120, block_13_depthwise: 1,626,177 of 2,259,265 parameters"
    )
    assert network.train_from(model, 154).endswith(": 1,281 of 2,259,265 parameters")
    assert "block_16_project" in words


def test_weights_that_are_missing_or_do_not_fit_are_refused_by_name(weights, tmp_path):
    model = network.build(32, 2, dropout=0.2)
    narrow = tmp_path / "narrow.weights.h5"
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.5, include_top=False, weights=None).save_weights(narrow)
    gap = tmp_path / "gap.weights.h5"
    gap.write_bytes(weights.read_bytes())
    with h5py.File(gap, "a") as file:
        del file["layers/depthwise_conv2d/vars/0"]
    half = tmp_path / "half.weights.h5"
    half.write_bytes(weights.read_bytes()[:100_000])
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    reasons = {narrow: "layer Conv1 ", gap: "layer expanded_conv_depthwise ", half: "no whole HDF5", text: "no whole HDF5",
               tmp_path / "none.weights.h5": "is missing"}
    for path, reason in reasons.items():
        with pytest.raises(UserError, match=f"{path.name} .*{reason}"):
            network.load_base(model, path)


def test_augmentation_alters_in_training_only_and_follows_its_settings():
    picture = np.zeros((1, 32, 32, 3), np.float32)
    picture[:, :, :16] = 255  # left half white
    augment = network.augmentation(32, "horizontal", 0)
    assert np.array_equal(augment(picture, training=False), picture)
    seen = {bool(np.asarray(augment(picture, training=True))[0, 16, 0, 0] > 127) for _ in range(30)}
    assert seen == {True, False}
    still = network.augmentation(32, "none", 0)
    assert all(np.allclose(still(picture, training=True), picture) for _ in range(10))
    turned = network.augmentation(32, "none", 0.5)
    assert not any(np.allclose(turned(picture, training=True), picture) for _ in range(3))
