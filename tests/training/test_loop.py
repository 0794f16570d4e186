import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from stages.common import history
from stages.common.cli import UserError
from stages.model import network
from stages.training import augmentation, loop
from stages.training.checkpoint import Checkpoint
from stages.training.views import Augmented
from tests.support import make_split
from tests.training.support import make_params, small, split_at, store

FROZEN = {"epoch": 5, "accuracy": 0.5, "loss": 0.8, "val_accuracy": 0.5, "val_loss": 0.75}  # of a history


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def make_settings(initial_epoch=1, seed=1, batch_size=4, start=None, **changes):
    """Settings of a phase: those of params.yaml but for one plain epoch; changes are parameters by their last name."""
    p = make_params(**changes)
    return loop.Settings(
        phase="finetune",
        initial_epoch=initial_epoch,
        schedule=p.finetune,
        train=p.train,
        batch_size=batch_size,
        seed=seed,
        start=start,
    )


class Recorder(list):
    """Called after every epoch, keeps the weights that the network has then; raises after epoch `stop`.

    Attributes:
        given: what it was called with, after each epoch.
    """

    def __init__(self, model, stop=None):
        self.model, self.stop, self.given = model, stop, []

    def __call__(self, epochs, metrics):
        self.append(self.model.get_weights())
        self.given.append((epochs, metrics))
        if len(epochs) == self.stop:
            raise KeyboardInterrupt


def fit(model, split, on_epoch_end=None, layer_index=0, **changes):
    """Trains a network from `layer_index` on, and returns the Result; changes as for make_settings."""
    settings = make_settings(**changes)
    augment = make_params(**{key: x for key, x in changes.items() if key in ("flip", "rotation")}).augmentation
    checkpoint = Checkpoint({"settings": repr((settings, augment))}, model.variables, [split])
    frozen, trained = split_at(model, layer_index)
    images = Augmented(split, augment, settings.seed, settings.train.views)
    views = store(images, frozen, checkpoint.beside("train"))
    validation = make_validation(model, split, layer_index, settings.batch_size)
    on_epoch_end = Recorder(model) if on_epoch_end is None else on_epoch_end
    return loop.fit(model, trained, views, validation, settings, checkpoint, on_epoch_end)


def make_validation(model, split, layer_index=0, batch_size=4):
    frozen, trained = split_at(model, layer_index)
    path = Checkpoint({}, model.variables, [split]).beside("validation")
    return loop.Validation(model, trained, store(Augmented(split), frozen, path, "float32"), batch_size)


def train(model, split, on_epoch_end=None, **options):
    return fit(model, split, on_epoch_end, **options).epochs


def same(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize("fine_tune_at", [0, 13, 20, 30])  # 20: the frozen part ends behind layer 17
def test_frozen_layers_and_statistics_never_change_and_all_other_weights_do(shallow, fine_tune_at):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3)
    assert len(model.get_layer("base").layers) == 30
    network.freeze_below(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train(model, make_split(8, ["a", "b", "c"]), layer_index=fine_tune_at)
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    statistics = {path for path in before if "moving_" in path}
    assert len(statistics) == 2 * 10
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen - statistics


@pytest.mark.parametrize("layer_index", [0, 154])  # the views are pixels, or stored features
@pytest.mark.parametrize("classes", [2, 3])
def test_training_is_what_keras_does_with_the_same_random_numbers(classes, layer_index):
    options = {
        "epochs": 3, "passes": 2, "views": 3, "schedule": "cosine", "warmup": 0.25, "learning_rate": 0.02, "l2": 5,
        "class_weights": "balanced", "flip": "horizontal", "rotation": 0.1, "dropout": 0.3,
    }  # fmt: skip
    split = make_split(10, list("abc")[:classes])
    split.manifest.loc[[0, 1], "label"] = 1  # classes of different sizes
    model, reference = small(classes), small(classes)
    ours = train(model, split, layer_index=layer_index, **options)
    augment = make_params(**{key: options[key] for key in ("flip", "rotation")}).augmentation
    # In the middle of the second epoch, for example, 9 of 18 steps are over.
    theirs = [keras_epoch(reference, split, views_of(reference, split, augment, layer_index), n) for n in range(3)]
    np.testing.assert_allclose(ours[["loss", "val_loss", "val_accuracy", "learning_rate"]], theirs, rtol=2e-4)


def views_of(model, split, augment, layer_index):
    """The features of three views of all images, float32 [3, N, 192], in float16's precision where they are stored."""
    extractor, images = keras.Model(model.inputs[0], model.layers[-1].input), len(split.labels)
    transforms = [augmentation.identity_transforms(images)]
    for view in (1, 2):
        rng = np.random.default_rng([1, view])
        transforms.append(augmentation.random_transforms(rng, images, 32, augment))
    features = np.stack([extractor(augmentation.apply_transforms(split.pixels, x)) for x in transforms])
    return features.astype(np.float16 if layer_index else np.float32).astype(np.float32)


def keras_epoch(model, split, features, epoch):
    """Trains the head for an epoch with Keras's losses and Adam.

    Returns:
        loss, val_loss, val_accuracy and the mean learning rate.
    """
    two, head = model.output_shape[1] == 1, model.layers[-1]
    loss = (keras.losses.BinaryCrossentropy if two else keras.losses.SparseCategoricalCrossentropy)(
        from_logits=True, reduction="none"
    )
    if epoch == 0:
        model.adam = keras.optimizers.Adam.from_config(loop._optimizer(model, 0.02).get_config())
    weights = len(split.labels) / (len(split.classes) * np.bincount(split.labels))
    rng, y, losses, rates = np.random.default_rng([1, epoch + 1]), split.labels[:, np.newaxis], [], []
    first_view, orders = np.random.default_rng(1).integers(3, size=10), [rng.permutation(10), rng.permutation(10)]
    for number, order in enumerate(orders):
        for rows in (order[:4], order[4:8], order[8:]):
            rates.append(learning_rate_of(6 * epoch + len(rates) + 0.5))
            model.adam.learning_rate = rates[-1]
            seen = features[(first_view[rows] + 2 * epoch + number) % 3, rows]
            mask = ((rng.random((len(rows), 192), np.float32) >= 0.3) / 0.7).astype(np.float32)
            with tf.GradientTape() as tape:
                logits = head(seen * mask)
                losses.append(loss(y[rows], logits) * weights[split.labels[rows]])
                objective = tf.reduce_mean(losses[-1]) + 5 / 2 / 10 * tf.reduce_sum(head.kernel**2)
            gradients = tape.gradient(objective, [variable.value for variable in model.trainable_variables])
            model.adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    logits = model(split.pixels.astype("float32"))
    correct = (logits[:, 0] > 0) == split.labels if two else np.argmax(logits, axis=1) == split.labels
    return np.concatenate(losses).mean(), np.mean(loss(y, logits)), np.mean(correct), np.mean(rates)


def learning_rate_of(step):
    """When so many of 18 steps are over, the first quarter of which is warm-up."""
    if step / 18 < 0.25:
        return 0.02 * step / 4.5
    decay = keras.optimizers.schedules.CosineDecay(0.02, decay_steps=13.5)
    return float(decay(step - 4.5))


def test_the_learning_rate_rises_and_falls_through_all_steps_of_the_phase():
    schedule = make_params(learning_rate=0.4, warmup=0.2, schedule="cosine").finetune
    rates = [loop.learning_rate_at(progress, schedule) for progress in (0.05, 0.1, 0.2, 0.6, 0.999)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.4, 0.2]) and 0 < rates[4] < 1e-5
    constant = schedule.model_copy(update={"schedule": "constant"})
    assert [loop.learning_rate_at(progress, constant) for progress in (0.1, 0.2, 1)] == pytest.approx([0.2, 0.4, 0.4])


def test_the_penalty_is_that_of_scikit_learns_logistic_regression():
    model, split = small(3), make_split(30, ["a", "b", "c"])
    options = {"epochs": 40, "passes": 10, "learning_rate": 0.01, "schedule": "cosine", "batch_size": 30, "l2": 20}
    fit(model, split, layer_index=154, **options)
    kernel, bias = model.get_weights()
    features = keras.Model(model.inputs[0], model.layers[-1].input)(split.pixels).numpy()
    reference = LogisticRegression(C=1 / 20, tol=1e-8, max_iter=1000).fit(features, split.labels)
    np.testing.assert_allclose(kernel.T, reference.coef_, atol=2e-3)
    np.testing.assert_allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=2e-3)


@pytest.mark.parametrize("layer_index", [13, 20])
@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"])
def test_learns_in_mixed_precision(shallow, mixed_precision, layer_index):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3, mixed_precision)
    network.freeze_below(model, layer_index)
    before = {weight.path: weight.numpy().copy() for weight in model.trainable_weights}
    split = make_split(8, ["a", "b", "c"])
    epochs = train(model, split, layer_index=layer_index, epochs=2, learning_rate=1e-4)
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


def test_while_it_runs_no_epoch_is_kept_and_the_metrics_are_those_of_the_last():
    model = small()
    recorder = Recorder(model)
    train(model, make_split(8, ["a", "b"]), recorder, epochs=2, initial_epoch=6)
    for count, (epochs, metrics) in enumerate(recorder.given, 1):
        assert len(epochs) == count and epochs["kept"].isna().all()
        assert metrics == history.summary(epochs.to_dict("records"), epochs.iloc[-1])
        assert metrics["best_epoch"] == 5 + count


@pytest.fixture
def read_steps(monkeypatch):
    """(rows, views) of every step of training that is read, in this order."""
    steps, read = [], Augmented.read

    def recorded(self, rows, views):
        if self.count > 1:  # not those of validation
            steps.append((rows, views))
        return read(self, rows, views)

    monkeypatch.setattr(Augmented, "read", recorded)
    return steps


def test_every_pass_has_every_image_once_in_an_order_of_seed_and_epoch(read_steps):
    split = make_split(10, ["a", "b"])
    orders = []
    for options in ({"epochs": 2, "passes": 2}, {"initial_epoch": 2, "passes": 2}, {"seed": 2}):
        read_steps.clear()
        train(small(), split, views=2, **options)
        orders.append([rows for rows, _ in read_steps])
        assert [len(rows) for rows in orders[-1]] == [4, 4, 2] * (len(orders[-1]) // 3)
    passes = [np.concatenate(rows).reshape(-1, 10).tolist() for rows in orders]
    assert [len(x) for x in passes] == [4, 2, 1]
    assert all(sorted(order) == list(range(10)) for x in passes for order in x)
    assert passes[0][2:] == passes[1]  # of epoch 2
    assert len({tuple(order) for x in (passes[0], passes[2]) for order in x}) == 5


def test_every_pass_shows_the_next_view_of_each_image(read_steps):
    train(small(), make_split(40, ["a", "b"]), views=3, epochs=2, passes=2)
    views = np.full((4, 40), -1)
    for number, (rows, of_rows) in enumerate(read_steps):
        views[number // 10, rows] = of_rows
    assert (np.bincount(views[0], minlength=3) >= 5).all()  # they begin with different ones
    for before, after in zip(views[:-1], views[1:], strict=True):
        assert (after == (before + 1) % 3).all()


@pytest.mark.parametrize("layer_index", [20, 30])
def test_validation_reads_the_images_once_and_has_the_weights_of_the_moment(monkeypatch, shallow, layer_index):
    split, calls, read = make_split(6, ["a", "b"]), [], Augmented.read
    monkeypatch.setattr(Augmented, "read", lambda *given: calls.append(given) or read(*given))
    keras.utils.set_random_seed(0)
    model = network.build(32, 2)
    validation = make_validation(model, split, layer_index)
    network.freeze_below(model, layer_index)
    _, before = validation()
    np.testing.assert_allclose(before, model(split.pixels.astype("float32")), atol=1e-5)
    model.get_layer("logits").bias.assign([1])
    _, after = validation()
    assert np.allclose(after, before + 1, atol=1e-5)
    model.get_layer("logits").kernel.assign(tf.ones([1280, 1]))
    model.get_layer("base").get_layer("Conv_1").kernel.assign(tf.ones([1, 1, 16, 1280]))
    _, seen = validation()
    expected = model(split.pixels.astype("float32"))
    assert np.allclose(seen, expected, rtol=1e-3) == (layer_index < 30) and len(calls) == 1


def test_near_duplicates_count_once_in_validation():
    model, split = small(3), make_split(6, ["a", "b", "c"])
    split.manifest["duplicates"] = [7, 7, 7, 8, 9, 9]
    metrics, logits = make_validation(model, split)()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")(split.labels, logits).numpy()
    correct = logits.argmax(axis=1) == split.labels
    for values, name in ((loss, "val_loss"), (correct, "val_accuracy")):
        assert len(set(values)) > 1  # or the weights would not matter
        expected = np.mean([values[:3].mean(), values[3], values[4:].mean()])
        assert metrics[name] == pytest.approx(expected, rel=1e-6)


def test_equal_accuracies_are_equal_numbers():
    model, split = small(), make_split(10, ["a"])  # ten times 1 / 10, added up, is a little less than 1
    model.layers[-1].set_weights([np.zeros((192, 1)), -np.ones(1)])
    metrics, _ = make_validation(model, split)()
    assert metrics["val_accuracy"] == 1


def test_augmentation_and_dropout_are_drawn_anew_in_every_epoch_of_every_seed():
    split, losses = make_split(8, ["a", "b"]), []
    for options in (
        {},
        {},
        {"rotation": 0.2},
        {"rotation": 0.2, "seed": 2},
        {"dropout": 0.5},
        {"dropout": 0.5, "seed": 2},
    ):
        losses.append(train(small(), split, learning_rate=1e-9, epochs=2, views=2, **options)["loss"].tolist())
    assert losses[0] == losses[1] and losses[0][0] == pytest.approx(losses[0][1], rel=1e-5)  # nothing is learned
    for first, second in losses[2:]:
        assert abs(first - second) > 1e-3
    assert losses[2] != losses[3] and losses[4] != losses[5]


@pytest.mark.parametrize("monitor", ["none", "val_loss"])
@pytest.mark.parametrize("start", [None, FROZEN])
def test_the_logits_it_returns_are_of_the_weights_that_are_kept(monitor, start):
    model, split = small(3), make_split(10, ["a", "b", "c"])
    options = {"epochs": 3, "learning_rate": 0.5, "monitor": monitor, "patience": 2, "mix": 0.6, "start": start}
    logits = fit(model, split, **options).logits
    assert logits.shape == (10, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, model(split.pixels.astype("float32")), rtol=1e-4, atol=1e-4)


def script_validation(monkeypatch, values):
    """Lets the validation losses be the given ones, whatever is learned, and the accuracies fall with them."""
    values = iter(values)

    def scripted(self):
        loss = next(values)
        return {"val_accuracy": 1 - loss / 2, "val_loss": loss}, np.zeros((len(self._views.split.labels), 1))

    monkeypatch.setattr(loop.Validation, "__call__", scripted)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_stops_when_the_monitored_value_gets_no_better_and_keeps_the_best_weights(monkeypatch, capsys, monitor):
    script_validation(monkeypatch, [0.9, 0.5, 0.7, 0.5, 0.1])  # equal is no better
    model = small()
    recorder = Recorder(model)
    epochs = train(model, make_split(8, ["a", "b"]), recorder, epochs=9, monitor=monitor, patience=2)
    assert epochs["kept"].tolist() == [False, True, False, False]
    assert same(model, recorder[1]) and not same(model, recorder[3])
    header, *rows, stopped, kept = capsys.readouterr().out.splitlines()
    assert header == history.HEADER and [len(row) for row in rows] == [len(header)] * 4
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"] and rows[0].split()[3:5] == ["0.5500", "0.9000"]
    assert stopped == f"stopped early: no better {monitor} in 2 epochs"
    assert kept == "kept: epoch 2: val_accuracy 0.7500, val_loss 0.5000"


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_frozen_model_is_a_candidate_of_early_stopping(monkeypatch, monitor):
    # The start, three epochs that are no better, the mixed weights.
    script_validation(monkeypatch, [0.4, 0.6, 0.5, 0.4, 0.45])
    start = FROZEN | {"val_loss": 0.4, "val_accuracy": 0.8}
    options = {"epochs": 9, "monitor": monitor, "patience": 3, "start": start, "initial_epoch": 6}
    assert train(small(), make_split(8, ["a", "b"]), **options)["epoch"].tolist() == [6, 7, 8]


def test_without_a_monitor_all_epochs_run_and_the_last_is_kept(monkeypatch):
    script_validation(monkeypatch, [0.1, 0.5, 0.7, 0.9])
    model = small()
    recorder = Recorder(model)
    epochs = train(model, make_split(8, ["a", "b"]), recorder, epochs=4, patience=1)
    assert epochs["kept"].tolist() == [False, False, False, True]
    assert same(model, recorder[3])


def test_fine_tuning_ends_in_a_mix_of_the_weights_it_starts_from_and_the_best_epochs(monkeypatch, capsys):
    # The start, two epochs of which the first is better, and five mixed models.
    script_validation(monkeypatch, [0.8, 0.5, 0.6, 0.8, 0.7, 0.3, 0.4, 0.5])
    model = small()
    start, recorder = model.get_weights(), Recorder(model)
    options = {"epochs": 2, "monitor": "val_loss", "patience": 2, "mix": "auto", "start": FROZEN, "initial_epoch": 6}
    result = fit(model, make_split(8, ["a", "b"]), recorder, **options)
    assert same(model, [a + (b - a) * np.float32(0.5) for a, b in zip(start, recorder[0], strict=True)])
    assert result.epochs["kept"].tolist() == [True, False]
    first = result.epochs.iloc[0]
    assert result.metrics == {
        "best_epoch": 6,
        "epochs": 2,
        "accuracy": first["accuracy"],
        "loss": first["loss"],
        "val_accuracy": 0.85,
        "val_loss": 0.3,
        "mix": 0.5,
        "start": {"val_accuracy": 0.6, "val_loss": 0.8},
    }
    printed = capsys.readouterr().out
    assert "starting from the frozen model: val_accuracy 0.6000, val_loss 0.8000" in printed
    assert "kept: 50% of the weights of epoch 6, the rest being the frozen model's: val_accuracy" in printed


def test_fine_tuning_that_does_not_pay_keeps_the_frozen_model(monkeypatch, capsys):
    script_validation(monkeypatch, [0.8, 0.9, 1.0, 0.8, 0.82, 0.85, 0.9, 1.0])
    model = small()
    start = model.get_weights()
    options = {"epochs": 2, "mix": "auto", "start": FROZEN, "initial_epoch": 6}
    result = fit(model, make_split(8, ["a", "b"]), **options)
    assert same(model, start)
    assert result.epochs["kept"].tolist() == [False, False] and result.epochs["kept"].dtype == bool
    assert result.metrics == {
        "best_epoch": 5,
        "epochs": 2,
        "accuracy": 0.5,
        "loss": 0.8,
        "val_accuracy": 0.6,
        "val_loss": 0.8,
        "mix": 0,
        "start": {"val_accuracy": 0.6, "val_loss": 0.8},
    }
    assert "kept: the frozen model" in capsys.readouterr().out


def test_a_new_head_has_no_model_to_mix_with():
    model = small()
    recorder = Recorder(model)
    result = fit(model, make_split(8, ["a", "b"]), recorder, mix=0.0)
    assert same(model, recorder[0])
    assert not {"mix", "start"} & result.metrics.keys()


@pytest.mark.parametrize("layer_index", [0, 154])
def test_resumes_after_its_last_finished_epoch_with_all_that_matters(capsys, layer_index):
    split = make_split(8, ["a", "b"])
    options = {
        "epochs": 5, "passes": 2, "views": 3, "schedule": "cosine", "warmup": 0.3, "monitor": "val_loss", "patience": 3,
        "learning_rate": 0.02, "flip": "horizontal", "rotation": 0.2, "dropout": 0.5, "l2": 1, "mix": "auto",
        "start": FROZEN, "layer_index": layer_index,
    }  # fmt: skip

    def run(stop=None):
        model = small()
        return model, fit(model, split, Recorder(model, stop), **options)

    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
    resumed, resumed_result = run()
    assert "resuming after epoch 3," in capsys.readouterr().out
    shutil.rmtree(".checkpoints")
    undisturbed, result = run()
    assert "resuming" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(resumed_result.epochs, result.epochs, check_exact=True)
    assert resumed_result.metrics == result.metrics and result.metrics["mix"] > 0
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
