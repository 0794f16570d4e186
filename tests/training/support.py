"""What the tests of training share: a small network, parameters of one plain epoch, and training with them."""

import keras
import numpy as np

from stages.common import history, params
from stages.model import network
from stages.training import fit
from stages.training.checkpoint import Checkpoint
from stages.training.validation import Validation
from stages.training.views import Augmented, Stored
from tests.support import ROOT

PLAIN = {
    "flip": "none",
    "rotation": 0,
    "crop": 1,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "views": 1,
    "dropout": 0,
    "l2": 0,
    "class_weights": "none",
    "epochs": 1,
    "passes": 1,
    "learning_rate": 0.01,
    "warmup": 0,
    "schedule": "constant",
    "monitor": "none",
    "patience": 1,
    "averaging": 0,
    "keep": "finetuned",
}
DAMAGE = {  # of the content of a file of state
    "empty": lambda data: b"",
    "four zeros": lambda data: bytes(4),
    "half": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "all zeros": lambda data: bytes(len(data)),
}


def flip(data, bit):
    """The bytes with one bit changed, counted from the end if it is negative."""
    changed = bytearray(data)
    bit %= 8 * len(changed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def make_params(**changes):
    """augmentation, train and finetune of params.yaml but for what is PLAIN, and changes, by the last name of each."""
    changes = PLAIN | changes
    p = params.read("augmentation", "train", "finetune", path=ROOT / "params.yaml")

    def changed(group, **more):
        update = {name: changes[name] for name in type(group).model_fields if name in changes}
        return group.model_copy(update=update | more)

    return params.Params.model_construct(
        augmentation=changed(p.augmentation),
        train=changed(p.train),
        finetune=changed(p.finetune, early_stopping=changed(p.finetune.early_stopping)),
    )


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


def split_at(model, layer_index):
    """As network.split_at does; of a `small` network, all below the head is frozen at 154 and nothing otherwise."""
    if any(layer.name == "base" for layer in model.layers):
        return network.split_at(model, layer_index)
    images, features = model.inputs[0], model.layers[-1].input
    if layer_index < params.BASE_LAYERS:
        return keras.Model(images, images), keras.Model(images, features)
    unchanged = keras.Input(features.shape[1:])
    return keras.Model(images, features), keras.Model(unchanged, unchanged)


def store(images, frozen, path, dtype="float16"):
    """The views of `images` that enter the trained part: stored, unless nothing is frozen."""
    return images if len(frozen.layers) == 1 else Stored(images, frozen, path, dtype)


def make_settings(batch_size=4, seed=1, initial_epoch=1, candidate=None, **changes):
    """Settings of one plain epoch of finetune; changes are parameters by their last name."""
    p = make_params(**changes)
    return fit.Settings("finetune", p.finetune, p.train, batch_size, seed, initial_epoch, candidate)


def make_validation(model, split, layer_index=0, batch_size=4):
    """The validation of a network whose layers below this one are frozen."""
    frozen, trained = split_at(model, layer_index)
    path = Checkpoint({}, model.variables, [split]).beside("validation")
    return Validation(model, trained, store(Augmented(split), frozen, path, "float32"), batch_size)


def scripted_validation(*losses):
    """A validation that measures these losses, one after the other, and accuracies that fall with them."""
    left = iter(losses)

    def validate():
        loss = next(left)
        return {"val_accuracy": 1 - loss / 2, "val_loss": loss}, np.full((1, 1), loss, np.float32)

    return validate


class Recorder(list):
    """Called after every epoch: keeps the weights that the network has then, and stops after epoch `stop`.

    Attributes:
        given: the history and its metrics, after each epoch.
    """

    def __init__(self, model, stop=None):
        self.model, self.stop, self.given = model, stop, []

    def __call__(self, epochs, metrics):
        self.append(self.model.get_weights())
        self.given.append((epochs, metrics))
        if len(epochs) == self.stop:
            raise KeyboardInterrupt


def train(model, split, on_epoch_end=lambda *given: None, validate=None, layer_index=0, **changes):
    """Trains a network from `layer_index` on and returns the fit.Result.

    Args:
        model: of `small` or network.build.
        split: to train on.
        on_epoch_end: as for fit.fit.
        validate: a validation; by default that of the network on the split it is trained on.
        layer_index: the first layer that is trained; of a `small` network 154, only its head, or 0.
        changes: of make_settings, and flip and rotation.
    """
    settings = make_settings(**changes)
    augment = make_params(**{name: changes[name] for name in ("flip", "rotation") if name in changes}).augmentation
    checkpoint = Checkpoint({"settings": repr((settings, augment))}, model.variables, [split])
    frozen, trained = split_at(model, layer_index)
    views = store(Augmented(split, augment, settings.seed, settings.train.views), frozen, checkpoint.beside("train"))
    validate = validate or make_validation(model, split, layer_index, settings.batch_size)
    return fit.fit(model, trained, views, validate, settings, checkpoint, on_epoch_end)


def history_of(result):
    """The history of a fit.Result, as it is written."""
    return history.table(result.rows, result.kept)


def same(model, weights):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))
