"""Goes on from the frozen model and trains the last layers of MobileNetV2 as well.

    python -m stages.finetune

Reads data/splits/{train,validation}, data/models/frozen and data/training/frozen.csv; writes data/models/finetuned
(SavedModel), data/training/finetuned.csv (history) and metrics/finetune.json. The epochs count on from the frozen ones.
"""

from functools import partial

from stages.common import files, cli, dataset, params
from stages.model import network, saved_model, temperature as calibration
from stages.training import history, loop, strategy
from stages.training.checkpoint import Checkpoint


def main():
    p = params.read("seed", "batch_size", "model.dropout", "augmentation.flip", "augmentation.rotation",
                    "train.class_weights", "train.mixed_precision", "train.distribution", "finetune.epochs",
                    "finetune.learning_rate", "finetune.schedule", "finetune.early_stopping.monitor",
                    "finetune.early_stopping.patience", "finetune.fine_tune_at")
    with strategy.scope(p["train.distribution"]):
        train_split, validation_split = dataset.load("train"), dataset.load("validation")
        first_epoch = int(history.read("data/training/frozen.csv")["epoch"].max()) + 1
        model = network.build(train_split.image_size, len(train_split.classes), p["train.mixed_precision"])
        saved_model.restore(model.weights, "data/models/frozen")
        validate = loop.validation(model, validation_split, p["batch_size"])
        start, _ = validate()
        print(f"starting from the frozen model: val_accuracy {start['accuracy']:.4f}, val_loss {start['loss']:.4f}")
        print(network.train_from(model, p["finetune.fine_tune_at"]))
        checkpoint = Checkpoint({**p, "first_epoch": first_epoch}, model.variables, [train_split, validation_split])
        write = partial(history.write, path="data/training/finetuned.csv", metrics_path="metrics/finetune.json",
                        extra={"start": {f"val_{name}": value for name, value in start.items()}})
        epochs, logits = loop.train(
            model, train_split, validate, checkpoint, phase="finetune", first_epoch=first_epoch,
            epochs=p["finetune.epochs"], learning_rate=p["finetune.learning_rate"], schedule=p["finetune.schedule"],
            monitor=p["finetune.early_stopping.monitor"], patience=p["finetune.early_stopping.patience"],
            batch_size=p["batch_size"], seed=p["seed"], flip=p["augmentation.flip"], rotation=p["augmentation.rotation"],
            dropout=p["model.dropout"], class_weights=loop.class_weights(train_split.labels, p["train.class_weights"]),
            watch=write,
        )
        if not strategy.is_chief():
            return
    temperature = calibration.fit(validation_split.labels, logits)
    with files.replacing("data/models/finetuned") as [model_folder]:
        saved_model.save(network.portable(model), train_split.classes, temperature, model_folder)
    write(epochs)
    checkpoint.remove()


if __name__ == "__main__":
    cli.run(main)
