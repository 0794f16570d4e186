"""The training loop: epochs, passes, views, random numbers, the history, resuming, and what is learned."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest

from stages.common import history
from stages.common.cli import UserError
from stages.model import network
from stages.training import model_selection
from stages.training.views import Augmented
from tests.support import make_split
from tests.training.support import Recorder, history_of, make_validation, same, scripted_validation, small, train

FROZEN = {"epoch": 5, "accuracy": 0.5, "loss": 0.8, "val_accuracy": 0.5, "val_loss": 0.75}  # row of a history


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def losses(epochs):
    """A validation for so many epochs, whatever it measures."""
    return scripted_validation(*[0.5] * epochs)


@pytest.mark.parametrize("fine_tune_at", [0, 13, 20, 30])  # 20: the frozen part ends behind layer 17
def test_frozen_layers_never_change_and_all_other_weights_do(shallow, fine_tune_at):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3)
    assert len(model.get_layer("base").layers) == 30
    network.freeze_below(model, fine_tune_at)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    train(model, make_split(8, ["a", "b", "c"]), validate=losses(1), layer_index=fine_tune_at)
    frozen = {w.path for layer in model.get_layer("base").layers[:fine_tune_at] for w in layer.weights}
    changed = {weight.path for weight in model.weights if not np.array_equal(weight.numpy(), before[weight.path])}
    assert changed == before.keys() - frozen


@pytest.mark.parametrize(("mixed_precision", "layer_index"), [("float16", 13), ("float16", 20), ("bfloat16", 20)])
def test_every_trainable_weight_learns_in_mixed_precision(shallow, mixed_precision, layer_index):
    keras.utils.set_random_seed(0)
    model = network.build(32, 3, mixed_precision)
    network.freeze_below(model, layer_index)
    before = {weight.path: weight.numpy().copy() for weight in model.trainable_weights}
    rows = train(model, make_split(8, ["a", "b", "c"]), layer_index=layer_index, epochs=2, learning_rate=1e-4).rows
    after = {weight.path: weight.numpy() for weight in model.trainable_weights}
    assert all(np.isfinite(after[path]).all() and not np.array_equal(after[path], before[path]) for path in before)
    assert np.isfinite([[row["loss"], row["val_loss"]] for row in rows]).all()


def test_exactly_as_many_epochs_run_as_asked_for_and_are_counted_on(steps):
    result = train(small(), make_split(8, ["a", "b"]), validate=losses(3), initial_epoch=6, epochs=3)
    epochs = history_of(result)
    assert list(epochs.columns) == history.COLUMNS
    assert epochs["epoch"].tolist() == [6, 7, 8]
    assert epochs["phase"].tolist() == ["finetune"] * 3
    assert epochs["learning_rate"].tolist() == pytest.approx([0.01] * 3, rel=1e-6)
    assert epochs["kept"].tolist() == [False, False, True]
    assert result.description == "epoch 8, the last" and result.metrics == {}


@pytest.mark.parametrize(("monitor", "kept"), [("none", [6, 7, 8]), ("val_loss", [6, 7, 7])])
def test_while_it_runs_no_epoch_is_kept_and_the_metrics_are_those_of_the_one_to_keep_so_far(monitor, kept, steps):
    model = small()
    recorder = Recorder(model)
    validate = scripted_validation(0.5, 0.3, 0.4)
    train(model, make_split(8, ["a", "b"]), recorder, validate, epochs=3, initial_epoch=6, monitor=monitor, patience=3)
    assert len(recorder.given) == 3
    for count, (epochs, metrics) in enumerate(recorder.given, 1):
        assert len(epochs) == count and epochs["kept"].isna().all()
        assert metrics == history.summary(epochs.to_dict("records"), epochs.iloc[kept[count - 1] - 6])
        assert metrics["kept_epoch"] == kept[count - 1]


@pytest.fixture
def read_steps(monkeypatch):
    """(rows, views) of every step of training that is read, in this order."""
    reads, read = [], Augmented.read
    monkeypatch.setattr(Augmented, "read", lambda self, *given: reads.append(given) or read(self, *given))
    return reads


def orders(read_steps, **options):
    """The order of ten images in each pass through them, in steps of 4, 4 and 2."""
    read_steps.clear()
    train(small(), make_split(10, ["a", "b"]), validate=losses(2), views=2, passes=2, **options)
    rows = [rows for rows, _ in read_steps]
    assert [len(x) for x in rows] == [4, 4, 2] * (len(rows) // 3)
    return np.concatenate(rows).reshape(-1, 10).tolist()


def test_every_pass_has_every_image_once_in_an_order_of_seed_and_epoch(steps, read_steps):
    both, second, other_seed = (
        orders(read_steps, **options) for options in ({"epochs": 2}, {"initial_epoch": 2}, {"seed": 2})
    )
    assert [len(x) for x in (both, second, other_seed)] == [4, 2, 2]
    assert all(sorted(order) == list(range(10)) for order in both + other_seed)
    assert both[2:] == second
    assert len({tuple(order) for order in both + other_seed}) == 6


def test_every_pass_shows_the_next_view_of_each_image(steps, read_steps):
    train(small(), make_split(40, ["a", "b"]), validate=losses(2), views=3, epochs=2, passes=2)
    views = np.full((4, 40), -1)
    for number, (rows, of_image) in enumerate(read_steps):
        views[number // 10, rows] = of_image
    assert set(views[0]) == {0, 1, 2}  # the first view is drawn for each image
    for before, after in zip(views[:-1], views[1:], strict=True):
        assert (after == (before + 1) % 3).all()


def drawn(steps, name, **options):
    """What is drawn in each of two epochs: "inputs", augmented images without their order, or dropout's "mask"."""
    steps.clear()
    train(small(), make_split(8, ["a", "b"]), validate=losses(2), epochs=2, views=2, batch_size=8, **options)
    return [np.sort(step[name], axis=0) if name == "inputs" else step[name] for step in steps]


@pytest.mark.parametrize(
    ("name", "option"), [("inputs", {"rotation": 0.2}), ("mask", {"dropout": 0.5})], ids=["augmentation", "dropout"]
)
def test_random_numbers_are_drawn_anew_in_every_epoch_of_every_seed(steps, name, option):
    plain, one, other = drawn(steps, name), drawn(steps, name, **option), drawn(steps, name, seed=2, **option)
    assert np.array_equal(*plain)  # nothing is augmented or dropped
    assert len({x.tobytes() for x in one + other}) == 4


def test_the_loss_and_accuracy_of_an_epoch_are_those_of_its_images():
    model, split = small(), make_split(8, ["a", "b"])
    [row] = train(model, split, learning_rate=1e-9).rows  # nothing is learned
    assert row["loss"] == pytest.approx(row["val_loss"], rel=1e-5) and row["accuracy"] == row["val_accuracy"]


@pytest.mark.parametrize("layer_index", [0, 154])
def test_resumes_after_its_last_finished_epoch_with_all_that_matters(capsys, layer_index):
    split = make_split(8, ["a", "b"])
    options = {
        "epochs": 5, "passes": 2, "views": 3, "schedule": "cosine", "warmup": 0.3, "monitor": "val_loss", "patience": 3,
        "averaging": 0.5, "learning_rate": 0.02, "flip": "horizontal", "rotation": 0.2, "dropout": 0.5, "l2": 1,
        "candidate": FROZEN, "layer_index": layer_index,
    }  # fmt: skip

    def run(stop=None):
        model = small()
        validate = make_validation(model, split, layer_index)
        frozen = model_selection.measure(model, FROZEN, validate)
        result = train(model, split, Recorder(model, stop), validate, **options)
        return model, model_selection.select(result, frozen, model, "better")

    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
    resumed, resumed_result = run()
    assert "resuming after epoch 3," in capsys.readouterr().out
    shutil.rmtree(".checkpoints")
    undisturbed, result = run()
    assert "resuming" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(history_of(resumed_result), history_of(result), check_exact=True)
    assert resumed_result.kept == result.kept
    assert resumed_result.metrics == result.metrics and result.metrics["model"] == "finetuned"
    assert same(resumed, undisturbed.get_weights())


def test_a_loss_that_is_no_number_ends_training(steps):
    with pytest.raises(UserError, match="no longer a number in epoch 1, finetune: lower the learning rate"):
        train(small(), make_split(8, ["a", "b"]), validate=scripted_validation(float("nan")))
