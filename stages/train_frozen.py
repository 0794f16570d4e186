"""Trains the new last layer while the whole of MobileNetV2 is frozen.

    python -m stages.train_frozen

Reads data/splits/{train,validation} and model.weights; writes data/models/frozen (SavedModel),
data/training/frozen.csv (history), data/training/augmentations.npy and metrics/train_frozen.json.
"""

import numpy as np

from stages.common import files, cli, dataset, params
from stages.model import network, saved_model, temperature as calibration
from stages.training import augmentation, history, loop, strategy
from stages.training.checkpoint import Checkpoint
from stages.model.backend import keras


def main():
    p = params.read("seed", "batch_size", "model.weights", "model.dropout", "augmentation.flip", "augmentation.rotation",
                    "train.class_weights", "train.mixed_precision", "train.distribution", "train_frozen.epochs",
                    "train_frozen.learning_rate", "train_frozen.schedule", "train_frozen.early_stopping.monitor",
                    "train_frozen.early_stopping.patience")
    with strategy.scope(p["train.distribution"]):
        train_split, validation_split = dataset.load("train"), dataset.load("validation")
        keras.utils.set_random_seed(p["seed"])
        model = network.build(train_split.image_size, len(train_split.classes), p["train.mixed_precision"])
        network.load_base(model, p["model.weights"])
        print(network.train_from(model, params.FINE_TUNE_LAYERS))
        checkpoint = Checkpoint(p, model.variables, [train_split, validation_split])
        epochs, logits = loop.train(
            model, train_split, loop.validation(model, validation_split, p["batch_size"]), checkpoint, phase="frozen",
            first_epoch=1, epochs=p["train_frozen.epochs"], learning_rate=p["train_frozen.learning_rate"],
            schedule=p["train_frozen.schedule"], monitor=p["train_frozen.early_stopping.monitor"],
            patience=p["train_frozen.early_stopping.patience"], batch_size=p["batch_size"], seed=p["seed"],
            flip=p["augmentation.flip"], rotation=p["augmentation.rotation"], dropout=p["model.dropout"],
            class_weights=loop.class_weights(train_split.labels, p["train.class_weights"]), watch=write,
        )
        if not strategy.is_chief():
            return
    temperature = calibration.fit(validation_split.labels, logits)
    with files.replacing("data/models/frozen", "data/training/augmentations.npy") as (model_folder, augmentations_file):
        saved_model.save(network.portable(model), train_split.classes, temperature, model_folder)
        with augmentations_file.open("wb") as file:
            np.save(file, preview(train_split.pixels[0], p["seed"], p["augmentation.flip"], p["augmentation.rotation"]))
    write(epochs)
    checkpoint.remove()


def write(epochs):
    history.write(epochs, "data/training/frozen.csv", "metrics/train_frozen.json")


def preview(picture, seed, flip, rotation, count=9):
    """Returns `count` random alterations of a picture, uint8 [count, size, size, 3]; the picture is uint8 as well."""
    alterations = augmentation.draw(np.random.default_rng(seed), count, len(picture), flip, rotation)
    altered = augmentation.alter(np.repeat(picture[np.newaxis], count, axis=0), alterations)
    return np.clip(np.round(altered), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    cli.run(main)
