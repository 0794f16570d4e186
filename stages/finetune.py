"""Continues from the frozen model and trains the last layers of MobileNetV2 as well.

    python -m stages.finetune

Reads data/splits/{train,validation}, data/models/frozen and data/training/train_frozen.csv; writes
data/models/finetuned (SavedModel), data/training/finetune.csv (history) and data/training/finetune.json (metrics of the
model that is kept). Epochs are counted on from those of train_frozen.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

from stages.common import cli, params
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.training import distribution, learning_rate, model_selection, phase


def main() -> None:
    p = params.read("seed", "batch_size", "augmentation", "train", "finetune")
    with distribution.scope(p.train.strategy):
        training = phase.Training(FINETUNE, p)
        row = training.continue_from(TRAIN_FROZEN)
        training.freeze_below(p.finetune.fine_tune_at)
        frozen = model_selection.measure(training.network, row, training.validate)
        result = training.fit(learning_rate.for_fine_tuning(p.finetune, row["loss"]), candidate=row)
        result = model_selection.select(result, frozen, training.network, p.finetune.keep)
    training.write(result)
    training.remove_shared_views()  # no phase follows that needs them


if __name__ == "__main__":
    cli.run(main)
