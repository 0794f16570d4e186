import keras
import numpy as np
import pytest

from stages.training import mixing

START = [np.float32([[0.1], [0.2]]), np.float32([0.3])]
END = [np.float32([[1.3], [-0.7]]), np.float32([0.3])]


def make_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights(END)
    return model


def mix(losses, fraction="auto"):
    """Mixes START and END; returns what mixing.mix does, and the weights.

    Args:
        losses: {fraction: validation loss}; others are not expected.
        fraction: finetune.mix.
    """
    model = make_model()

    def validation():
        kernel = model.get_weights()[0]
        [seen] = [x for x in losses if np.allclose(kernel, START[0] + x * (END[0] - START[0]), atol=1e-6)]
        return {"val_accuracy": 1 - losses[seen], "val_loss": losses[seen]}, np.float32([[seen]])

    return mixing.mix(model, START, validation, fraction), model.get_weights()


def same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def some_losses(**changes):
    """{fraction: 0.4}, but for changes such as f0=0.3 of the first of the fractions that are tried."""
    values = dict.fromkeys(mixing.FRACTIONS, 0.4)
    return values | {mixing.FRACTIONS[int(name[1:])]: loss for name, loss in changes.items()}


def test_the_frozen_model_and_mixes_are_tried_from_little_to_much():
    assert mixing.FRACTIONS[0] == 0 and list(mixing.FRACTIONS) == sorted(set(mixing.FRACTIONS))
    assert len(mixing.FRACTIONS) > 2 and mixing.FRACTIONS[-1] <= 1


@pytest.mark.parametrize("place", range(1, len(mixing.FRACTIONS)))
def test_the_fraction_with_the_lowest_validation_loss_is_kept(place):
    best = mixing.FRACTIONS[place]
    (fraction, metrics, logits), weights = mix(some_losses(**{f"f{place}": 0.2}))
    assert fraction == best and metrics == {"val_accuracy": 0.8, "val_loss": 0.2} and logits == [[best]]
    if best < 1:
        assert same(weights, [a + (b - a) * np.float32(best) for a, b in zip(START, END, strict=True)])


def test_of_equals_the_smallest_is_kept():
    (fraction, _, _), _ = mix(some_losses(f1=0.3, f2=0.3))
    assert fraction == mixing.FRACTIONS[1]


def test_the_frozen_model_is_kept_to_the_bit_where_nothing_is_better():
    (fraction, metrics, _), weights = mix(some_losses())
    assert fraction == 0 and metrics["val_loss"] == 0.4 and same(weights, START)


@pytest.mark.parametrize("number", [0.0, 0.3, 1.0])
def test_a_number_is_taken_whatever_its_loss(number):
    (fraction, metrics, logits), weights = mix({number: 9}, fraction=number)
    assert fraction == number and metrics["val_loss"] == 9 and logits == [[np.float32(number)]]
    exact = {0.0: START, 1.0: END}.get(number)
    assert same(weights, exact) if exact else not same(weights, START) and not same(weights, END)


@pytest.mark.parametrize(
    ("fraction", "words"),
    [
        (0, "kept: the frozen model, because fine-tuning did not lower the validation loss: val_accuracy 0.9000"),
        (0.25, "kept: 25% of the weights of epoch 7, the rest being the frozen model's: val_accuracy 0.9000"),
        (1, "kept: epoch 7: val_accuracy 0.9000, val_loss 0.3000"),
    ],
)
def test_it_says_which_model_is_kept(fraction, words):
    metrics = {"best_epoch": 7, "val_accuracy": 0.9, "val_loss": 0.3, "mix": fraction}
    assert mixing.describe(metrics, chosen=True).startswith(words)
    if fraction == 0:  # set by hand
        assert mixing.describe(metrics, chosen=False).startswith("kept: the frozen model: val_accuracy 0.9000")
