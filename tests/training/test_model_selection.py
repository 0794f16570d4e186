import keras
import numpy as np
import pytest

from stages.common import history
from stages.training import model_selection
from stages.training.fit import Result
from tests.training.support import same, scripted_validation

START = [np.float32([[0.1], [0.2]]), np.float32([0.3])]
END = [np.float32([[1.3], [-0.7]]), np.float32([0.3])]
# Rows of the history, whose weights are START and END.
FROZEN = {"epoch": 5, "phase": "train_frozen", "accuracy": 0.5, "loss": 0.8, "val_accuracy": 0.5, "val_loss": 0.75}
TUNED = {"epoch": 7, "phase": "finetune", "accuracy": 0.9, "loss": 0.3, "val_accuracy": 0.8, "val_loss": 0.5}
TUNED |= {"learning_rate": 0.01}


def make_model(weights):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights(weights)
    return model


def select(frozen_loss, keep):
    """Selects between START, with this validation loss, and END, with 0.5; returns the fit.Result and the model."""
    metrics = {"val_accuracy": 0.6, "val_loss": frozen_loss}
    frozen = model_selection.FrozenModel(FROZEN, START, metrics, np.float32([[0]]))
    model = make_model(END)
    return model_selection.select(Result([TUNED], TUNED, np.float32([[1]]), "epoch 7"), frozen, model, keep), model


def candidates(frozen_loss):
    """What the metrics have of both models, whichever is kept."""
    frozen = {"epoch": 5, "val_accuracy": 0.6, "val_loss": frozen_loss}
    return {"frozen": frozen, "finetuned": {"epoch": 7, "val_accuracy": 0.8, "val_loss": 0.5}}


@pytest.mark.parametrize(("frozen_loss", "keep"), [(0.6, "better"), (0.4, "finetuned")])
def test_the_fine_tuned_model_is_kept_if_its_loss_is_lower_or_if_it_is_asked_for(frozen_loss, keep):
    result, model = select(frozen_loss, keep)
    assert same(model, END) and result.logits == [[1]] and result.kept == TUNED and result.description == "epoch 7"
    assert result.metrics == {"model": "finetuned", "candidates": candidates(frozen_loss)}


@pytest.mark.parametrize(
    ("frozen_loss", "keep", "words"),
    [
        (0.4, "better", "the frozen model, because fine-tuning did not lower the validation loss"),
        (0.5, "better", "the frozen model, because fine-tuning did not lower the validation loss"),
        (0.6, "frozen", "the frozen model"),
    ],
)
def test_the_frozen_model_is_kept_to_the_bit_otherwise(frozen_loss, keep, words):
    result, model = select(frozen_loss, keep)
    assert same(model, START) and result.logits == [[0]] and result.description == words
    assert result.kept == FROZEN | {"val_accuracy": 0.6, "val_loss": frozen_loss}
    assert result.metrics == {"model": "frozen", "candidates": candidates(frozen_loss)}
    kept = history.table(result.rows, result.kept)["kept"]
    assert kept.tolist() == [False] and kept.dtype == bool


def test_the_frozen_model_is_validated_before_fine_tuning(capsys):
    model = make_model(END)
    frozen = model_selection.measure(model, FROZEN, scripted_validation(0.8))
    assert frozen.row == FROZEN and frozen.metrics == {"val_accuracy": 0.6, "val_loss": 0.8}
    assert frozen.logits == [[np.float32(0.8)]]
    model.set_weights(START)
    assert all(np.array_equal(a, b) for a, b in zip(frozen.weights, END, strict=True))  # of that moment
    assert capsys.readouterr().out == "starting from the frozen model: val_accuracy 0.6000, val_loss 0.8000\n"
