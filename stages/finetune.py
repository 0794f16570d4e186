"""Goes on from the frozen model and trains the last layers of MobileNetV2 as well.

    python -m stages.finetune

Reads data/splits/{train,validation}, data/models/frozen and data/training/frozen.csv; writes data/models/finetuned
(SavedModel), data/training/finetuned.csv (history) and metrics/finetune.json. The epochs count on from the frozen ones.
"""

import pandas as pd

from stages.common import command, dataset, network, params, saved_model, training
from stages.common.command import UserError
from stages.common.tensorflow import keras


def main():
    p = params.read("seed", "batch_size", "model.dropout", "augmentation.flip", "augmentation.rotation",
                    "train.class_weights", "finetune.epochs", "finetune.learning_rate", "finetune.fine_tune_at")
    train_split, validation_split = dataset.load("train"), dataset.load("validation")
    try:
        frozen_history = pd.read_csv("data/training/frozen.csv")
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro train_frozen` first.") from None
    with command.replacing(
        "data/models/finetuned", "data/training/finetuned.csv", "metrics/finetune.json"
    ) as (model_folder, history_file, metrics_file):
        keras.utils.set_random_seed(p["seed"])
        model = network.build(train_split.image_size, len(train_split.classes), p["model.dropout"])
        saved_model.restore(model, "data/models/frozen")
        start = training.evaluate(model, validation_split, p["batch_size"])
        print(f"starting from the frozen model: val_accuracy {start['accuracy']:.4f}, val_loss {start['loss']:.4f}")
        print(network.train_from(model, p["finetune.fine_tune_at"]))
        augment = network.augmentation(train_split.image_size, p["augmentation.flip"], p["augmentation.rotation"])
        history = training.train(
            model, augment, train_split, validation_split, phase="finetune", first_epoch=int(frozen_history["epoch"].max()) + 1,
            epochs=p["finetune.epochs"], learning_rate=p["finetune.learning_rate"], batch_size=p["batch_size"],
            seed=p["seed"],
            class_weights=training.class_weights(train_split.labels, p["train.class_weights"]),
        )
        saved_model.save(model, train_split.classes, model_folder)
        history.to_csv(history_file, index=False)
        metrics = {"start": {f"val_{name}": value for name, value in start.items()}, **training.last_epoch(history)}
        command.write_json(metrics, metrics_file)


if __name__ == "__main__":
    command.run(main)
