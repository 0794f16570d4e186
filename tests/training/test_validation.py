import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.model import network
from stages.training.views import Augmented
from tests.support import make_split
from tests.training.support import make_validation, small


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


@pytest.mark.parametrize("layer_index", [20, 30])
def test_reads_the_images_once_and_has_the_weights_of_the_moment(monkeypatch, shallow, layer_index):
    split, calls, read = make_split(6, ["a", "b"]), [], Augmented.read
    monkeypatch.setattr(Augmented, "read", lambda *given: calls.append(given) or read(*given))
    keras.utils.set_random_seed(0)
    model = network.build(32, 2)
    validate = make_validation(model, split, layer_index, batch_size=6)
    network.freeze_below(model, layer_index)
    _, before = validate()
    np.testing.assert_allclose(before, model(split.pixels.astype("float32")), atol=1e-5)
    model.get_layer("logits").bias.assign([1])
    _, after = validate()
    assert np.allclose(after, before + 1, atol=1e-5)
    model.get_layer("logits").kernel.assign(tf.ones([1280, 1]))
    model.get_layer("base").get_layer("Conv_1").kernel.assign(tf.ones([1, 1, 16, 1280]))
    _, seen = validate()
    expected = model(split.pixels.astype("float32"))
    assert np.allclose(seen, expected, rtol=1e-3) == (layer_index < 30) and len(calls) == 1


def test_returns_a_logit_for_each_class_in_float32():
    model, split = small(3), make_split(10, ["a", "b", "c"])
    _, logits = make_validation(model, split)()
    assert logits.shape == (10, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, model(split.pixels.astype("float32")), rtol=1e-4, atol=1e-4)


def test_near_duplicates_count_once():
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
