import h5py
import numpy as np
import pandas as pd
import pytest

from stages.common import dataset, network, training
from stages.common.command import UserError
from stages.common.tensorflow import keras


def some_split(count, classes, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    manifest = pd.DataFrame({"path": map(str, range(count)), "label": np.arange(count) % len(classes)})
    return dataset.Split(pixels, manifest, classes)


def train_one_epoch(model, split, **options):
    arguments = {"phase": "finetune", "first_epoch": 1, "epochs": 1, "learning_rate": 0.01, "batch_size": 4, "seed": 1,
                 "class_weights": None}
    return training.train(model, network.augmentation(32, "horizontal", 0.2), split, split, **arguments | options)


def test_is_keras_own_mobilenet_v2_with_its_preprocessing(weights):
    model = network.build(32, 2, dropout=0.2)
    network.load_base(model, weights)
    reference = network.mobilenet_v2(32)
    reference.load_weights(weights)
    pictures = some_split(2, ["a", "b"]).pixels
    features = reference(keras.applications.mobilenet_v2.preprocess_input(pictures.astype("float32")), training=False)
    dense = model.get_layer("logits")
    expected = dense(features.numpy().mean(axis=(1, 2)))
    np.testing.assert_allclose(model(pictures.astype("float32"), training=False), expected, rtol=1e-4, atol=1e-5)


def test_one_logit_for_two_classes_and_as_many_as_classes_for_more():
    assert network.build(32, 2, 0.2).output_shape == (None, 1)
    assert network.build(32, 3, 0.2).output_shape == (None, 3)


@pytest.mark.parametrize("fine_tune_at", [0, 120, 154])
def test_what_is_frozen_never_changes_and_the_rest_does(weights, fine_tune_at):
    model = network.build(32, 3, dropout=0.2)
    network.load_base(model, weights)
    network.train_from(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train_one_epoch(model, some_split(8, ["a", "b", "c"]))
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    statistics = {path for path in before if "moving_" in path}
    assert len(statistics) == 2 * 52
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen - statistics


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


def test_epochs_are_counted_on_and_exactly_as_many_as_asked_for():
    model = network.build(32, 2, dropout=0.2)
    network.train_from(model, 154)
    history = train_one_epoch(model, some_split(8, ["a", "b"]), first_epoch=6, epochs=3)
    assert list(history.columns) == training.HISTORY
    assert history["epoch"].tolist() == [6, 7, 8]
    assert history["phase"].tolist() == ["finetune"] * 3
    assert history["learning_rate"].tolist() == [0.01] * 3


def test_batches_hold_every_picture_once_in_an_order_of_seed_and_epoch():
    split = some_split(10, ["a", "b"])

    def order(batches):
        pixels = np.concatenate([batches[i][0] for i in range(len(batches))])
        return [int(np.flatnonzero((split.pixels == x).all(axis=(1, 2, 3)))[0]) for x in pixels]

    batches = training.Batches(split, 4, seed=1)
    first = order(batches)
    batches.on_epoch_end()
    second = order(batches)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert order(training.Batches(split, 4, seed=1, epoch=1)) == second
    assert order(training.Batches(split, 4, seed=2)) != first
    assert order(training.Batches(split, 4)) == list(range(10))


def test_class_weights_balance_the_classes_or_leave_them():
    labels = np.array([0] * 6 + [1] * 2 + [2] * 1)
    assert training.class_weights(labels, "none") == {0: 1, 1: 1, 2: 1}
    assert training.class_weights(labels, "balanced") == pytest.approx({0: 0.5, 1: 1.5, 2: 3})


def test_a_class_without_weight_is_not_learned_from():
    model = network.build(32, 2, dropout=0.2)
    network.train_from(model, 154)
    before = [weight.copy() for weight in model.get_weights()]
    train_one_epoch(model, some_split(8, ["a", "b"]), class_weights={0: 0.0, 1: 0.0})
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
