import math
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from stages.common import dataset
from stages.common.cli import UserError
from stages.model import network
from stages.training import augmentation, history, loop
from stages.training.checkpoint import Checkpoint

CONSTANT = {
    "phase": "finetune",
    "first_epoch": 1,
    "epochs": 1,
    "learning_rate": 0.01,
    "schedule": "constant",
    "monitor": "none",
    "patience": 1,
    "batch_size": 4,
    "seed": 1,
    "flip": "none",
    "rotation": 0,
    "dropout": 0,
}


def make_split(count, classes, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    manifest = pd.DataFrame({"path": map(str, range(count)), "label": np.arange(count) % len(classes)})
    return dataset.Split(pixels, manifest, classes)


class Watch(list):
    """Called after every epoch, keeps the weights that the network has then; raises after epoch `stop`."""

    def __init__(self, model, stop=None):
        self.model, self.stop = model, stop

    def __call__(self, epochs):
        self.append(self.model.get_weights())
        if len(epochs) == self.stop:
            raise KeyboardInterrupt


def train(model, split, watch=None, **options):
    options = CONSTANT | {"class_weights": np.ones(len(split.classes))} | options
    settings = {key: str(value) for key, value in options.items()}
    checkpoint = Checkpoint(settings, model.variables, [split])
    validate = loop.validation(model, split, options["batch_size"])
    epochs, _ = loop.train(
        model, split, validate, checkpoint, **options, watch=Watch(model) if watch is None else watch
    )
    return epochs


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def small(classes=2):
    """A network that is quick to train in place of MobileNetV2."""
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


@pytest.mark.parametrize("fine_tune_at", [0, 120, 154])
def test_what_is_frozen_never_changes_and_the_rest_does(weights, fine_tune_at):
    model = network.build(32, 3)
    network.load_base(model, weights)
    network.freeze_below(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train(model, make_split(8, ["a", "b", "c"]))
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    statistics = {path for path in before if "moving_" in path}
    assert len(statistics) == 2 * 52
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen - statistics


@pytest.mark.parametrize("class_weights", [np.array([0.5, 2.0]), np.array([0.5, 1.0, 2.0])])
def test_is_what_keras_does_for_the_same_draws(weights, class_weights):
    classes, epochs = len(class_weights), 3
    split = make_split(10, list("abc")[:classes])
    model = network.build(32, classes)
    network.load_base(model, weights)
    network.freeze_below(model, 140)
    reference = plain(model, weights)
    ours = train(
        model,
        split,
        epochs=epochs,
        schedule="cosine",
        learning_rate=0.0001,
        class_weights=class_weights,
        flip="horizontal",
        rotation=0.1,
        dropout=0.3,
    )
    kind = keras.losses.BinaryCrossentropy if classes == 2 else keras.losses.SparseCategoricalCrossentropy
    loss, optimizer = kind(from_logits=True, reduction="none"), keras.optimizers.Adam()
    y = split.labels[:, np.newaxis]
    for epoch, row in enumerate(ours.itertuples()):
        optimizer.learning_rate = 0.0001 * (1 + math.cos(math.pi * epoch / epochs)) / 2
        rng = np.random.default_rng([1, epoch + 1])
        order, losses = rng.permutation(10), []
        for rows in (order[:4], order[4:8], order[8:]):
            altered = augmentation.alter(split.pixels[rows], augmentation.draw(rng, len(rows), 32, "horizontal", 0.1))
            dropped = (rng.random((len(rows), 1280), np.float32) >= 0.3) / 0.7
            with tf.GradientTape() as tape:
                logits = reference.get_layer("logits")(reference.features(altered) * dropped.astype(np.float32))
                losses.append(loss(y[rows], logits) * class_weights[split.labels[rows]])
                mean = tf.reduce_mean(losses[-1])
            gradients = tape.gradient(mean, [variable.value for variable in reference.trainable_variables])
            optimizer.apply_gradients(zip(gradients, reference.trainable_variables))
        logits = reference(split.pixels.astype("float32"))
        theirs = [np.concatenate(losses).mean(), np.mean(loss(y, logits))]
        np.testing.assert_allclose([row.loss, row.val_loss], theirs, rtol=5e-3)  # random weights let roundings grow
        right = (logits[:, 0] > 0) == split.labels if classes == 2 else np.argmax(logits, axis=1) == split.labels
        assert row.val_accuracy == pytest.approx(np.mean(right))
    assert ours["learning_rate"].tolist() == pytest.approx([0.0001, 0.000075, 0.000025])


def plain(model, weights):
    """Returns `model` built from Keras's own MobileNetV2, and gives it `features`, the model up to the last layer's input."""
    base = network.mobilenet_v2(32)
    base.load_weights(weights)
    for layer, own in zip(base.layers, model.get_layer("base").layers):
        layer.trainable = own.trainable
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(
        base(keras.applications.mobilenet_v2.preprocess_input(inputs), training=False)
    )
    reference = keras.Model(inputs, keras.layers.Dense(model.output_shape[1], name="logits")(features))
    reference.features = keras.Model(inputs, features)
    reference.set_weights(model.get_weights())
    return reference


@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"])
def test_learns_in_mixed_precision(weights, mixed_precision):
    model = network.build(32, 3, mixed_precision)
    network.load_base(model, weights)
    network.freeze_below(model, 150)
    before = {weight.path: weight.numpy().copy() for weight in model.trainable_weights}
    epochs = train(model, make_split(8, ["a", "b", "c"]), epochs=2, learning_rate=1e-4)
    after = {weight.path: weight.numpy() for weight in model.trainable_weights}
    assert all(np.isfinite(after[path]).all() and not np.array_equal(after[path], before[path]) for path in before)
    assert np.isfinite(epochs[["loss", "val_loss"]]).all(axis=None)


def test_epochs_are_counted_on_and_exactly_as_many_as_asked_for():
    epochs = train(small(), make_split(8, ["a", "b"]), first_epoch=6, epochs=3)
    assert list(epochs.columns) == history.COLUMNS
    assert epochs["epoch"].tolist() == [6, 7, 8]
    assert epochs["phase"].tolist() == ["finetune"] * 3
    assert epochs["learning_rate"].tolist() == [0.01] * 3
    assert epochs["kept"].tolist() == [False, False, True]


def test_every_epoch_has_every_image_once_in_an_order_of_seed_and_epoch(monkeypatch):
    orders, batches = [], dataset.batches
    monkeypatch.setattr(
        dataset, "batches", lambda split, rows: batches(split, (orders.append(some := list(rows)) or some))
    )
    split = make_split(10, ["a", "b"])
    for options in ({"epochs": 2}, {"first_epoch": 2}, {"seed": 2}):
        train(small(), split, **options)
    assert [len(rows) for rows in orders[0]] == [4, 4, 2]
    first, check, second, again, _, other, _ = (np.concatenate(rows).tolist() for rows in orders)
    assert sorted(first) == sorted(second) == check == list(range(10)) and first != second
    assert again == second and other != first


def test_validation_looks_at_its_images_again_only_if_the_base_learns(monkeypatch, weights):
    split, calls, batches = make_split(6, ["a", "b"]), [], dataset.batches
    monkeypatch.setattr(dataset, "batches", lambda *given: calls.append(given) or batches(*given))
    model = network.build(32, 2)
    network.load_base(model, weights)
    validate = loop.validation(model, split, 4)
    network.freeze_below(model, 154)
    _, before = validate()
    model.get_layer("logits").bias.assign([1])
    _, after = validate()
    assert len(calls) == 1 and np.allclose(after, before + 1, atol=1e-3)
    network.freeze_below(model, 120)
    model.get_layer("base").get_layer("Conv_1").kernel.assign(tf.zeros([1, 1, 320, 1280]))
    assert not np.allclose(validate()[1], after, atol=1e-3) and len(calls) == 2


def test_batches_are_rows_in_the_order_asked_for():
    split = make_split(10, ["a", "b", "c"])
    order = np.random.default_rng(0).permutation(10)
    batches = list(dataset.batches(split, [order[:4], order[4:8], order[8:]]))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate([pixels for pixels, _ in batches]), split.pixels[order])
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), split.labels[order])


def test_alterations_and_dropout_are_drawn_anew_in_every_epoch_of_every_seed():
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
    options = CONSTANT | {"epochs": 3, "learning_rate": 0.5, "monitor": monitor, "patience": 2}
    checkpoint = Checkpoint({}, model.variables, [split])
    epochs, logits = loop.train(
        model,
        split,
        loop.validation(model, split, 4),
        checkpoint,
        **options,
        class_weights=np.ones(3),
        watch=lambda epochs: None,
    )
    assert logits.shape == (10, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, model(split.pixels.astype("float32")), rtol=1e-4, atol=1e-4)


def scripted(monkeypatch, values):
    """Lets the validation losses be the given ones, whatever is learned, and the accuracies fall with them."""
    values = iter(values)

    def fake(network, split, batch_size):
        return lambda: ({"accuracy": 1 - (loss := next(values)) / 2, "loss": loss}, np.zeros((len(split.labels), 1)))

    monkeypatch.setattr(training, "validation", fake)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_stops_when_the_monitored_value_gets_no_better_and_keeps_the_best_weights(monkeypatch, monitor):
    scripted(monkeypatch, [0.9, 0.5, 0.7, 0.5, 0.1])  # equal is no better
    model = small()
    watch = Watch(model)
    epochs = train(model, make_split(8, ["a", "b"]), watch, epochs=9, monitor=monitor, patience=2)
    assert epochs["kept"].tolist() == [False, True, False, False]
    assert same(model, watch[1]) and not same(model, watch[3])


def test_without_a_monitor_all_epochs_run_and_the_last_is_kept(monkeypatch):
    scripted(monkeypatch, [0.1, 0.5, 0.7, 0.9])
    model = small()
    watch = Watch(model)
    epochs = train(model, make_split(8, ["a", "b"]), watch, epochs=4, patience=1)
    assert epochs["kept"].tolist() == [False, False, False, True]
    assert same(model, watch[3])


def test_goes_on_after_its_last_finished_epoch_with_all_that_matters(capsys):
    split = make_split(8, ["a", "b"])
    options = {
        "epochs": 5,
        "schedule": "cosine",
        "monitor": "val_loss",
        "patience": 3,
        "learning_rate": 0.02,
        "flip": "horizontal",
        "rotation": 0.2,
        "dropout": 0.5,
    }

    def run(stop=None):
        model = small()
        return model, train(model, split, Watch(model, stop), **options)

    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
    resumed, resumed_epochs = run()
    assert "going on after epoch 3," in capsys.readouterr().out
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


def test_a_class_without_weight_is_not_learned_from():
    model = small()
    before = [weight.copy() for weight in model.get_weights()]
    train(model, make_split(8, ["a", "b"]), class_weights=np.zeros(2))
    assert same(model, before)
