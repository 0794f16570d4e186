import math
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from stages.common import dataset, params
from stages.common.cli import UserError
from stages.model import network
from stages.training import augmentation, history, loop
from stages.training.checkpoint import Checkpoint
from tests.support import ROOT, make_split


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def make_settings(**changes):
    """Settings of a phase: those of params.yaml but for one plain epoch; changes are parameters by their last name."""
    changes = {
        "epochs": 1, "learning_rate": 0.01, "schedule": "constant", "monitor": "none", "patience": 1, "flip": "none",
        "rotation": 0, "dropout": 0, "class_weights": "none", "initial_epoch": 1, "seed": 1, "batch_size": 4,
    } | changes  # fmt: skip
    p = params.read("augmentation", "train", "finetune", path=ROOT / "params.yaml")

    def changed(group, **more):
        update = {name: changes[name] for name in type(group).model_fields if name in changes}
        return group.model_copy(update=update | more)

    return loop.Settings(
        phase="finetune",
        schedule=changed(p.finetune, early_stopping=changed(p.finetune.early_stopping)),
        augmentation=changed(p.augmentation),
        train=changed(p.train),
        **{name: changes[name] for name in ("initial_epoch", "seed", "batch_size")},
    )


class Recorder(list):
    """Called after every epoch, keeps the weights that the network has then; raises after epoch `stop`."""

    def __init__(self, model, stop=None):
        self.model, self.stop = model, stop

    def __call__(self, epochs):
        self.append(self.model.get_weights())
        if len(epochs) == self.stop:
            raise KeyboardInterrupt


def fit(model, split, settings, on_epoch_end=None):
    checkpoint = Checkpoint({"settings": repr(settings)}, model.variables, [split])
    validation = loop.Validation(model, split, settings.batch_size)
    return loop.fit(
        model, split, validation, settings, checkpoint, Recorder(model) if on_epoch_end is None else on_epoch_end
    )


def train(model, split, on_epoch_end=None, **options):
    epochs, _ = fit(model, split, make_settings(**options), on_epoch_end)
    return epochs


def small(classes=2):
    """A network that is quick to train in place of MobileNetV2: its head takes 192 features."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dense(1 if classes == 2 else classes),
        ]
    )


def same(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize("fine_tune_at", [0, 13, 30])
def test_frozen_layers_and_statistics_never_change_and_all_other_weights_do(shallow, fine_tune_at):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3)
    assert len(model.get_layer("base").layers) == 30
    network.freeze_below(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train(model, make_split(8, ["a", "b", "c"]))
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    statistics = {path for path in before if "moving_" in path}
    assert len(statistics) == 2 * 10
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen - statistics


@pytest.mark.parametrize("classes", [2, 3])
def test_training_is_what_keras_does_with_the_same_random_numbers(classes):
    settings = make_settings(
        epochs=3, schedule="cosine", learning_rate=0.02, class_weights="balanced", flip="horizontal", rotation=0.1,
        dropout=0.3,
    )  # fmt: skip
    split = make_split(10, list("abc")[:classes])
    split.manifest.loc[[0, 1], "label"] = 1  # classes of different sizes
    model, reference = small(classes), small(classes)
    ours, _ = fit(model, split, settings)
    theirs = [keras_epoch(reference, split, settings, epoch) for epoch in range(3)]
    np.testing.assert_allclose(ours[["loss", "val_loss", "val_accuracy"]], theirs, rtol=1e-4)
    assert ours["learning_rate"].tolist() == pytest.approx([0.02, 0.015, 0.005])


def keras_epoch(model, split, settings, epoch):
    """Trains a network for an epoch with Keras's losses and Adam; returns loss, val_loss and val_accuracy."""
    two = model.output_shape[1] == 1
    loss = (keras.losses.BinaryCrossentropy if two else keras.losses.SparseCategoricalCrossentropy)(
        from_logits=True, reduction="none"
    )
    if epoch == 0:
        model.adam = keras.optimizers.Adam()
    model.adam.learning_rate = 0.02 * (1 + math.cos(math.pi * epoch / 3)) / 2
    extractor, head = keras.Model(model.inputs[0], model.layers[-1].input), model.layers[-1]
    weights = len(split.labels) / (len(split.classes) * np.bincount(split.labels))
    rng, y, losses = np.random.default_rng([1, epoch + 1]), split.labels[:, np.newaxis], []
    order = rng.permutation(10)
    for rows in (order[:4], order[4:8], order[8:]):
        transforms = augmentation.random_transforms(rng, len(rows), 32, settings.augmentation)
        mask = ((rng.random((len(rows), 192), np.float32) >= 0.3) / 0.7).astype(np.float32)
        with tf.GradientTape() as tape:
            logits = head(extractor(augmentation.apply_transforms(split.pixels[rows], transforms)) * mask)
            losses.append(loss(y[rows], logits) * weights[split.labels[rows]])
            mean = tf.reduce_mean(losses[-1])
        gradients = tape.gradient(mean, [variable.value for variable in model.trainable_variables])
        model.adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    logits = model(split.pixels.astype("float32"))
    correct = (logits[:, 0] > 0) == split.labels if two else np.argmax(logits, axis=1) == split.labels
    return np.concatenate(losses).mean(), np.mean(loss(y, logits)), np.mean(correct)


@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"])
def test_learns_in_mixed_precision(shallow, mixed_precision):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3, mixed_precision)
    network.freeze_below(model, 13)
    before = {weight.path: weight.numpy().copy() for weight in model.trainable_weights}
    epochs = train(model, make_split(8, ["a", "b", "c"]), epochs=2, learning_rate=1e-4)
    after = {weight.path: weight.numpy() for weight in model.trainable_weights}
    assert all(np.isfinite(after[path]).all() and not np.array_equal(after[path], before[path]) for path in before)
    assert np.isfinite(epochs[["loss", "val_loss"]]).all(axis=None)


def test_epochs_are_counted_on_and_exactly_as_many_as_asked_for():
    epochs = train(small(), make_split(8, ["a", "b"]), initial_epoch=6, epochs=3)
    assert list(epochs.columns) == history.COLUMNS
    assert epochs["epoch"].tolist() == [6, 7, 8]
    assert epochs["phase"].tolist() == ["finetune"] * 3
    assert epochs["learning_rate"].tolist() == [0.01] * 3
    assert epochs["kept"].tolist() == [False, False, True]


def test_every_epoch_has_every_image_once_in_an_order_of_seed_and_epoch(monkeypatch):
    orders, batches = [], dataset.batches

    def recorded(split, steps):
        orders.append(list(steps))
        return batches(split, orders[-1])

    monkeypatch.setattr(dataset, "batches", recorded)
    split = make_split(10, ["a", "b"])
    for options in ({"epochs": 2}, {"initial_epoch": 2}, {"seed": 2}):
        train(small(), split, **options)
    assert [len(rows) for rows in orders[0]] == [4, 4, 2]
    first, check, second, again, _, other, _ = (np.concatenate(rows).tolist() for rows in orders)
    assert sorted(first) == sorted(second) == check == list(range(10)) and first != second
    assert again == second and other != first


def test_validation_computes_features_again_only_if_the_base_is_trainable(monkeypatch, shallow):
    split, calls, batches = make_split(6, ["a", "b"]), [], dataset.batches
    monkeypatch.setattr(dataset, "batches", lambda *given: calls.append(given) or batches(*given))
    keras.utils.set_random_seed(0)
    model = network.build(32, 2)
    validation = loop.Validation(model, split, 4)
    network.freeze_below(model, 30)
    _, before = validation()
    model.get_layer("logits").bias.assign([1])
    _, after = validation()
    assert len(calls) == 1 and np.allclose(after, before + 1, atol=1e-5)
    network.freeze_below(model, 13)
    model.get_layer("base").get_layer("Conv_1").kernel.assign(tf.zeros([1, 1, 24, 1280]))
    assert not np.allclose(validation()[1], after, atol=1e-5) and len(calls) == 2


def test_augmentation_and_dropout_are_drawn_anew_in_every_epoch_of_every_seed():
    split, losses = make_split(8, ["a", "b"]), []
    for options in ({}, {}, {"rotation": 0.2}, {"dropout": 0.5}, {"dropout": 0.5, "seed": 2}):
        losses.append(train(small(), split, learning_rate=1e-9, epochs=2, **options)["loss"].tolist())
    assert losses[0] == losses[1] and losses[0][0] == pytest.approx(losses[0][1], rel=1e-5)  # nothing is learned
    for first, second in losses[2:]:
        assert abs(first - second) > 1e-3
    assert losses[3][0] != losses[4][0]


@pytest.mark.parametrize("monitor", ["none", "val_loss"])
def test_the_logits_it_returns_are_of_the_epoch_that_is_kept(monitor):
    model, split = small(3), make_split(10, ["a", "b", "c"])
    _, logits = fit(model, split, make_settings(epochs=3, learning_rate=0.5, monitor=monitor, patience=2))
    assert logits.shape == (10, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, model(split.pixels.astype("float32")), rtol=1e-4, atol=1e-4)


def script_validation(monkeypatch, values):
    """Lets the validation losses be the given ones, whatever is learned, and the accuracies fall with them."""
    values = iter(values)

    def scripted(self):
        loss = next(values)
        return {"accuracy": 1 - loss / 2, "loss": loss}, np.zeros((len(self.split.labels), 1))

    monkeypatch.setattr(loop.Validation, "__call__", scripted)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_stops_when_the_monitored_value_gets_no_better_and_keeps_the_best_weights(monkeypatch, monitor):
    script_validation(monkeypatch, [0.9, 0.5, 0.7, 0.5, 0.1])  # equal is no better
    model = small()
    recorder = Recorder(model)
    epochs = train(model, make_split(8, ["a", "b"]), recorder, epochs=9, monitor=monitor, patience=2)
    assert epochs["kept"].tolist() == [False, True, False, False]
    assert same(model, recorder[1]) and not same(model, recorder[3])


def test_without_a_monitor_all_epochs_run_and_the_last_is_kept(monkeypatch):
    script_validation(monkeypatch, [0.1, 0.5, 0.7, 0.9])
    model = small()
    recorder = Recorder(model)
    epochs = train(model, make_split(8, ["a", "b"]), recorder, epochs=4, patience=1)
    assert epochs["kept"].tolist() == [False, False, False, True]
    assert same(model, recorder[3])


def test_resumes_after_its_last_finished_epoch_with_all_that_matters(capsys):
    split = make_split(8, ["a", "b"])
    options = {
        "epochs": 5, "schedule": "cosine", "monitor": "val_loss", "patience": 3, "learning_rate": 0.02,
        "flip": "horizontal", "rotation": 0.2, "dropout": 0.5,
    }  # fmt: skip

    def run(stop=None):
        model = small()
        return model, train(model, split, Recorder(model, stop), **options)

    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
    resumed, resumed_epochs = run()
    assert "resuming after epoch 3," in capsys.readouterr().out
    shutil.rmtree(".checkpoints")
    undisturbed, epochs = run()
    assert "going on" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(resumed_epochs, epochs, check_exact=True)
    assert same(resumed, undisturbed.get_weights())


def test_a_loss_that_is_no_number_ends_training():
    model = small()
    model.layers[-1].set_weights([np.full((192, 1), np.nan), np.zeros(1)])
    with pytest.raises(UserError, match="no longer a number in epoch 1, finetune: lower the learning rate"):
        train(model, make_split(8, ["a", "b"]))


def test_class_weights_balance_the_classes_or_leave_them():
    labels = np.array([0] * 6 + [1] * 2 + [2] * 1)
    assert loop.class_weights(labels, "none").tolist() == [1, 1, 1]
    assert loop.class_weights(labels, "balanced").tolist() == pytest.approx([0.5, 1.5, 3])


def test_nothing_is_learned_from_a_class_without_weight(monkeypatch):
    monkeypatch.setattr(loop, "class_weights", lambda labels, kind: np.zeros(2))
    model = small()
    before = [weight.copy() for weight in model.get_weights()]
    train(model, make_split(8, ["a", "b"]))
    assert same(model, before)
