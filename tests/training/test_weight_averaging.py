import keras
import numpy as np
import pytest

from stages.common import history
from stages.training import weight_averaging
from stages.training.fit import Result
from tests.training.support import scripted_validation

START = [np.float32([[0.1], [0.2]]), np.float32([0.3])]
END = [np.float32([[1.3], [-0.7]]), np.float32([0.3])]
# Rows of the history, whose weights are START and END.
FROZEN = {"epoch": 5, "phase": "train_frozen", "accuracy": 0.5, "loss": 0.8, "val_accuracy": 0.5, "val_loss": 0.75}
TUNED = {"epoch": 7, "phase": "finetune", "accuracy": 0.9, "loss": 0.3, "val_accuracy": 0.8, "val_loss": 0.5}
TUNED |= {"learning_rate": 0.01}


def make_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights(END)
    return model


def mix(losses, fraction="auto"):
    """Mixes START and END; returns the fit.Result and the weights.

    Args:
        losses: {fraction: validation loss}; others are not expected.
        fraction: finetune.mix.
    """
    model = make_model()

    def validate():
        kernel = model.get_weights()[0]
        [seen] = [x for x in losses if np.allclose(kernel, START[0] + x * (END[0] - START[0]), atol=1e-6)]
        return {"val_accuracy": 1 - losses[seen], "val_loss": losses[seen]}, np.float32([[seen]])

    frozen = weight_averaging.FrozenModel(FROZEN, START, {"val_accuracy": 0.6, "val_loss": 0.8})
    tuned = Result([TUNED], TUNED, np.float32([[9]]), "epoch 7")
    return weight_averaging.mix(tuned, frozen, model, validate, fraction), model.get_weights()


def same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def some_losses(**changes):
    """{fraction: 0.4}, but for changes such as f0=0.3 of the first of the fractions that are tried."""
    values = dict.fromkeys(weight_averaging.FRACTIONS, 0.4)
    return values | {weight_averaging.FRACTIONS[int(name[1:])]: loss for name, loss in changes.items()}


def test_the_frozen_model_and_mixes_are_tried_from_little_to_much():
    assert weight_averaging.FRACTIONS[0] == 0 and list(weight_averaging.FRACTIONS) == sorted(
        set(weight_averaging.FRACTIONS)
    )
    assert len(weight_averaging.FRACTIONS) > 2 and weight_averaging.FRACTIONS[-1] <= 1


@pytest.mark.parametrize("place", range(1, len(weight_averaging.FRACTIONS)))
def test_the_fraction_with_the_lowest_validation_loss_is_kept(place):
    best = weight_averaging.FRACTIONS[place]
    result, weights = mix(some_losses(**{f"f{place}": 0.2}))
    assert result.metrics == {"mix": best, "start": {"val_accuracy": 0.6, "val_loss": 0.8}}
    assert result.kept == TUNED | {"val_accuracy": 0.8, "val_loss": 0.2} and result.logits == [[best]]
    if best < 1:
        assert same(weights, [a + (b - a) * np.float32(best) for a, b in zip(START, END, strict=True)])


def test_of_equals_the_smallest_is_kept():
    result, _ = mix(some_losses(f1=0.3, f2=0.3))
    assert result.metrics["mix"] == weight_averaging.FRACTIONS[1]


def test_the_frozen_model_is_kept_to_the_bit_where_nothing_is_better():
    result, weights = mix(some_losses())
    assert result.metrics["mix"] == 0 and same(weights, START)
    assert result.kept == FROZEN | {"val_accuracy": 0.6, "val_loss": 0.4}
    kept = history.table(result.rows, result.kept)["kept"]
    assert kept.tolist() == [False] and kept.dtype == bool


@pytest.mark.parametrize("number", [0.0, 0.3, 1.0])
def test_a_number_is_taken_whatever_its_loss(number):
    result, weights = mix({number: 9}, fraction=number)
    assert result.metrics["mix"] == number and result.kept["val_loss"] == 9 and result.logits == [[np.float32(number)]]
    exact = {0.0: START, 1.0: END}.get(number)
    assert same(weights, exact) if exact else not same(weights, START) and not same(weights, END)


@pytest.mark.parametrize(
    ("losses", "fraction", "words"),
    [
        (some_losses(), "auto", "the frozen model, because fine-tuning did not lower the validation loss"),
        ({0: 0.3}, 0, "the frozen model"),
        (some_losses(f1=0.3), "auto", "25% of the weights of epoch 7, the rest being the frozen model's"),
        ({1: 0.3}, 1, "epoch 7"),
    ],
)
def test_it_says_which_weights_are_kept(losses, fraction, words):
    assert mix(losses, fraction)[0].description == words


def test_the_frozen_model_is_validated_before_fine_tuning(capsys):
    model = make_model()
    frozen = weight_averaging.measure(model, FROZEN, scripted_validation(0.8))
    assert frozen.row == FROZEN and frozen.metrics == {"val_accuracy": 0.6, "val_loss": 0.8}
    model.set_weights(START)
    assert same(frozen.weights, END)  # of that moment
    assert capsys.readouterr().out == "starting from the frozen model: val_accuracy 0.6000, val_loss 0.8000\n"
