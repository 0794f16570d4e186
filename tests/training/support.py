"""What the tests of training share: parameters for one plain epoch, and the two parts of a small network."""

import keras

from stages.common import params
from stages.model import network
from stages.training.views import Stored
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
    "mix": 1.0,
}


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
