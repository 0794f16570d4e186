"""Trains the new head while the base, MobileNetV2, is frozen.

    python -m stages.train_frozen

Reads data/splits/{train,validation} and model.weights; writes data/models/frozen (SavedModel),
data/training/train_frozen.csv (history), data/training/train_frozen.json (the epoch that is kept) and
data/training/augmentations.npy.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import keras
import numpy as np

from stages.common import cli, dataset, files, params
from stages.model import network
from stages.training import augmentation, phase, strategy


def main() -> None:
    p = params.read("seed", "batch_size", "model", "augmentation", "train", "train_frozen")
    phase.run("train_frozen", p, params.BASE_LAYERS, prepare)


def prepare(model: keras.Model, p: params.Params) -> phase.Start:
    """Loads the base's weights, and shows how training augments an image."""
    network.load_base(model, p.model.weights)
    if strategy.is_chief():
        with (
            files.replacing(augmentations="data/training/augmentations.npy") as out,
            out.augmentations.open("wb") as file,
        ):
            np.save(file, augmentation.preview(dataset.load("train").pixels[0], p.seed, p.augmentation))
    return phase.Start(initial_epoch=1)


if __name__ == "__main__":
    cli.run(main)
