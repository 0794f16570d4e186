import math
import shutil

import numpy as np
import pandas as pd
import pytest

from stages.common import dataset, history, network, training
from stages.common.checkpoint import Checkpoint
from stages.common.command import UserError
from stages.common.tensorflow import keras

CONSTANT = {"phase": "finetune", "first_epoch": 1, "epochs": 1, "learning_rate": 0.01, "schedule": "constant",
            "monitor": "none", "patience": 1, "batch_size": 4, "seed": 1}


def some_split(count, classes, seed=0):
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


def train(model, split, watch=None, augmentation=None, **options):
    options = CONSTANT | {"class_weights": np.ones(len(split.classes))} | options
    augmentation = augmentation or network.augmentation(32, "none", 0)
    settings = {key: str(value) for key, value in options.items()}
    checkpoint = Checkpoint(settings, [*model.variables, *augmentation.variables], [split])
    return training.train(model, augmentation, split, split, checkpoint, **options, watch=Watch(model) if watch is None else watch)


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def small(classes=2):
    """A network that is quick to train, with dropout, in place of MobileNetV2."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1), keras.layers.AveragePooling2D(4),
        keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(1 if classes == 2 else classes),
    ])


def same(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize("fine_tune_at", [0, 120, 154])
def test_what_is_frozen_never_changes_and_the_rest_does(weights, fine_tune_at):
    model = network.build(32, 3, dropout=0.2)
    network.load_base(model, weights)
    network.train_from(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train(model, some_split(8, ["a", "b", "c"]))
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    statistics = {path for path in before if "moving_" in path}
    assert len(statistics) == 2 * 52
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen - statistics


@pytest.mark.parametrize("class_weights", [np.array([0.5, 2.0]), np.array([0.5, 1.0, 2.0])])
def test_is_what_keras_does(weights, class_weights):
    classes, epochs = len(class_weights), 3
    split = some_split(10, list("abc")[:classes])
    model = network.build(32, classes, dropout=0)
    network.load_base(model, weights)
    network.train_from(model, 140)
    reference = network.build(32, classes, dropout=0)
    reference.set_weights(model.get_weights())
    network.train_from(reference, 140)
    ours = train(model, split, epochs=epochs, schedule="cosine", learning_rate=0.001, class_weights=class_weights)
    kind = keras.losses.BinaryCrossentropy if classes == 2 else keras.losses.SparseCategoricalCrossentropy
    accuracy = keras.metrics.BinaryAccuracy("accuracy", threshold=0) if classes == 2 else "accuracy"
    reference.compile(keras.optimizers.Adam(0.001), kind(from_logits=True), metrics=[accuracy])
    x, y = split.pixels.astype("float32"), split.labels[:, np.newaxis]
    for epoch, row in enumerate(ours.itertuples()):
        reference.optimizer.learning_rate = 0.001 * (1 + math.cos(math.pi * epoch / epochs)) / 2
        order = np.random.default_rng([1, epoch + 1]).permutation(10)
        history = reference.fit(
            x[order], y[order], batch_size=4, shuffle=False, verbose=0, class_weight=dict(enumerate(class_weights))
        ).history
        validation = reference.evaluate(x, y, batch_size=4, verbose=0)
        theirs = [*history["loss"], *history["accuracy"], *validation]
        np.testing.assert_allclose([row.loss, row.accuracy, row.val_loss, row.val_accuracy], theirs, rtol=1e-4)
    for a, b in zip(model.get_weights(), reference.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert ours["learning_rate"].tolist() == pytest.approx([0.001, 0.00075, 0.00025])


def test_epochs_are_counted_on_and_exactly_as_many_as_asked_for():
    epochs = train(small(), some_split(8, ["a", "b"]), first_epoch=6, epochs=3)
    assert list(epochs.columns) == history.COLUMNS
    assert epochs["epoch"].tolist() == [6, 7, 8]
    assert epochs["phase"].tolist() == ["finetune"] * 3
    assert epochs["learning_rate"].tolist() == [0.01] * 3
    assert epochs["kept"].tolist() == [False, False, True]


def test_every_epoch_has_every_picture_once_in_an_order_of_seed_and_epoch(monkeypatch):
    orders, batches = [], dataset.batches
    monkeypatch.setattr(
        dataset, "batches", lambda split, size, order=None: orders.append(order) or batches(split, size, order)
    )
    split = some_split(10, ["a", "b"])
    for options in ({"epochs": 2}, {"first_epoch": 2}, {"seed": 2}):
        train(small(), split, **options)
    first, _, second, _, again, _, other, _ = (None if order is None else order.tolist() for order in orders)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert again == second and other != first


def test_batches_are_rows_in_the_order_asked_for():
    split = some_split(10, ["a", "b", "c"])
    order = np.random.default_rng(0).permutation(10)
    for given, expected in ((order, order), (None, np.arange(10))):
        batches = list(dataset.batches(split, 4, given))
        assert [len(labels) for _, labels in batches] == [4, 4, 2]
        assert np.array_equal(np.concatenate([pixels for pixels, _ in batches]), split.pixels[expected])
        assert np.array_equal(np.concatenate([labels for _, labels in batches]), split.labels[expected])


def test_logits_are_the_networks_in_the_order_of_the_split():
    model, split = small(3), some_split(10, ["a", "b", "c"])
    expected = model(split.pixels.astype("float32"), training=False)
    np.testing.assert_allclose(training.logits(model, split, 4), expected, rtol=1e-5)


def scripted(monkeypatch, values):
    """Lets the validation losses be the given ones, whatever is learned, and the accuracies fall with them."""
    values, run = iter(values), training._run

    def fake(step, batches, count, name):
        if name != "validation":
            return run(step, batches, count, name)
        loss = next(values)
        return {"accuracy": 1 - loss / 2, "loss": loss}

    monkeypatch.setattr(training, "_run", fake)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_stops_when_the_monitored_value_gets_no_better_and_keeps_the_best_weights(monkeypatch, monitor):
    scripted(monkeypatch, [0.9, 0.5, 0.7, 0.5, 0.1])  # equal is no better
    model = small()
    watch = Watch(model)
    epochs = train(model, some_split(8, ["a", "b"]), watch, epochs=9, monitor=monitor, patience=2)
    assert epochs["kept"].tolist() == [False, True, False, False]
    assert same(model, watch[1]) and not same(model, watch[3])


def test_without_a_monitor_all_epochs_run_and_the_last_is_kept(monkeypatch):
    scripted(monkeypatch, [0.1, 0.5, 0.7, 0.9])
    model = small()
    watch = Watch(model)
    epochs = train(model, some_split(8, ["a", "b"]), watch, epochs=4, patience=1)
    assert epochs["kept"].tolist() == [False, False, False, True]
    assert same(model, watch[3])


def test_goes_on_after_its_last_finished_epoch_with_all_that_matters(capsys):
    split = some_split(8, ["a", "b"])
    options = {"epochs": 5, "schedule": "cosine", "monitor": "val_loss", "patience": 3, "learning_rate": 0.02}

    def run(stop=None):
        model = small()
        augmentation = network.augmentation(32, "horizontal", 0.2)
        return model, train(model, split, Watch(model, stop), augmentation, **options)

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
        train(model, some_split(8, ["a", "b"]))


def test_class_weights_balance_the_classes_or_leave_them():
    labels = np.array([0] * 6 + [1] * 2 + [2] * 1)
    assert training.class_weights(labels, "none").tolist() == [1, 1, 1]
    assert training.class_weights(labels, "balanced").tolist() == pytest.approx([0.5, 1.5, 3])


def test_a_class_without_weight_is_not_learned_from():
    model = small()
    before = [weight.copy() for weight in model.get_weights()]
    train(model, some_split(8, ["a", "b"]), class_weights=np.zeros(2))
    assert same(model, before)
