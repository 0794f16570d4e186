"""Continues from the frozen model and trains the last layers of MobileNetV2 as well.

    python -m stages.finetune

Reads data/splits/{train,validation}, data/models/frozen and data/training/train_frozen.csv; writes
data/models/finetuned (SavedModel), data/training/finetune.csv (history) and data/training/finetune.json (the epoch and
mix that are kept). The epochs count on from the frozen ones.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import keras

from stages.common import cli, history, params
from stages.model import saved_model
from stages.training import phase


def main() -> None:
    p = params.read("seed", "batch_size", "augmentation", "train", "finetune")
    phase.run("finetune", p, p.finetune.fine_tune_at, prepare)


def prepare(model: keras.Model, p: params.Params) -> phase.Start:
    """Takes over the frozen model."""
    epochs = history.read(phase.HISTORIES["train_frozen"])
    saved_model.restore(model.weights, phase.MODELS["train_frozen"])
    return phase.Start(int(epochs["epoch"].max()) + 1, epochs[epochs["kept"]].to_dict("records")[0])


if __name__ == "__main__":
    cli.run(main)
