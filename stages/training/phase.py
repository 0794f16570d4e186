"""One phase of training: what train_frozen and finetune share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from stages.common import dataset, files
from stages.common.params import Params
from stages.model import network, saved_model
from stages.model.temperature import fit_temperature
from stages.training import history, loop, strategy
from stages.training.checkpoint import Checkpoint

HISTORIES = {"train_frozen": "data/training/train_frozen.csv", "finetune": "data/training/finetune.csv"}
MODELS = {"train_frozen": "data/models/frozen", "finetune": "data/models/finetuned"}


@dataclass(frozen=True)
class Start:
    """Where a phase starts: the number of its first epoch, and what else belongs into its metrics file."""

    initial_epoch: int
    metrics: dict[str, Any]


def run(stage: str, p: Params, prepare: Callable[[keras.Model, loop.Validation, Params], Start]) -> None:
    """Trains the network through one phase and writes its model, history and metrics.

    Args:
        stage: "train_frozen" or "finetune".
        p: seed, batch_size, augmentation, train, and the group of the stage.
        prepare: gives the network its initial weights and freezes layers.
    """
    with strategy.scope(p.train.strategy):
        train, validation_split = dataset.load("train"), dataset.load("validation")
        keras.utils.set_random_seed(p.seed)
        model = network.build(train.image_size, len(train.classes), p.train.mixed_precision)
        validation = loop.Validation(model, validation_split, p.batch_size)
        start = prepare(model, validation, p)
        checkpoint = Checkpoint(
            p.model_dump() | {"start": start.initial_epoch}, model.variables, [train, validation_split]
        )
        settings = loop.Settings(
            stage, start.initial_epoch, getattr(p, stage), p.augmentation, p.train, p.batch_size, p.seed
        )
        write = partial(history.write, path=HISTORIES[stage], metrics_path=f"metrics/{stage}.json", extra=start.metrics)
        epochs, logits = loop.fit(model, train, validation, settings, checkpoint, write)
        if not strategy.is_chief():
            return
    temperature = fit_temperature(validation_split.labels, logits)
    with files.replacing(model=MODELS[stage]) as out:
        saved_model.save(network.to_serving(model), train.classes, temperature, out.model)
    write(epochs)
    checkpoint.remove()
