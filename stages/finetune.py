"""Continues from the frozen model and trains the last layers of MobileNetV2 as well.

    python -m stages.finetune

Reads data/splits/{train,validation}, data/models/frozen and data/training/train_frozen.csv; writes
data/models/finetuned (SavedModel), data/training/finetune.csv (history) and metrics/finetune.json. The epochs count on
from the frozen ones.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import keras

from stages.common import cli, params
from stages.model import network, saved_model
from stages.training import history, loop, phase


def main() -> None:
    p = params.read("seed", "batch_size", "augmentation", "train", "finetune")
    phase.run("finetune", p, prepare)


def prepare(model: keras.Model, validation: loop.Validation, p: params.Params) -> phase.Start:
    """Takes over the frozen model, measures it, and unfreezes the layers from fine_tune_at on."""
    last_epoch = int(history.read(phase.HISTORIES["train_frozen"])["epoch"].max())
    saved_model.restore(model.weights, phase.MODELS["train_frozen"])
    start, _ = validation()
    print(f"starting from the frozen model: val_accuracy {start['accuracy']:.4f}, val_loss {start['loss']:.4f}")
    print(network.freeze_below(model, p.finetune.fine_tune_at))
    return phase.Start(last_epoch + 1, {"start": {f"val_{name}": value for name, value in start.items()}})


if __name__ == "__main__":
    cli.run(main)
