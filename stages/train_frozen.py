"""Trains the new head while the base, MobileNetV2, is frozen.

    python -m stages.train_frozen

Reads data/splits/{train,validation} and model.weights; writes data/models/frozen (SavedModel),
data/training/train_frozen.csv (history), data/training/train_frozen.json (metrics of the epoch that is kept),
data/training/augmentations.npy (a training image, augmented several times), and data/features/{train,validation}.npy
(the features of the images, for the audit).
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

from stages.common import cli, params, unchanged
from stages.common.phases import TRAIN_FROZEN
from stages.model import network
from stages.training import augmentation, distribution, phase


def main() -> None:
    p = params.read("seed", "background", "batch_size", "model", "augmentation", "train", "train_frozen")
    with distribution.scope(p.train.strategy), unchanged.ensure(lambda: [p.model.weights]):
        training = phase.Training(TRAIN_FROZEN, p)
        network.load_base(training.network, p.model.weights)
        if distribution.is_chief():
            image = training.train_split.pixels[0]
            augmentation.write_preview("data/training/augmentations.npy", image, p.seed, p.augmentation)
        training.freeze_below(params.BASE_LAYERS)
        result = training.fit(p.train_frozen)
    training.write_features()
    training.write(result, p.background)


if __name__ == "__main__":
    cli.run(main)
