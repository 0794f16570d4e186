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
from stages.training.views import Views

HISTORIES = {"train_frozen": "data/training/train_frozen.csv", "finetune": "data/training/finetune.csv"}
MODELS = {"train_frozen": "data/models/frozen", "finetune": "data/models/finetuned"}


@dataclass(frozen=True)
class Start:
    """Where a phase starts.

    Attributes:
        initial_epoch: number of its first epoch, counted from 1 through all phases.
        kept: the row of the history whose weights it starts from; None where the head is new.
    """

    initial_epoch: int
    kept: dict[str, Any] | None = None


def run(stage: str, p: Params, layer_index: int, prepare: Callable[[keras.Model, Params], Start]) -> None:
    """Trains the network through one phase and writes its model, history and metrics.

    Args:
        stage: "train_frozen" or "finetune".
        p: seed, batch_size, augmentation, train, and the group of the stage.
        layer_index: the first layer of the base that is trained (network.freeze_below).
        prepare: gives the network its initial weights.
    """
    with strategy.scope(p.train.strategy):
        train, validation_split = dataset.load("train"), dataset.load("validation")
        keras.utils.set_random_seed(p.seed)
        model = network.build(train.image_size, len(train.classes), p.train.mixed_precision)
        start = prepare(model, p)
        print(network.freeze_below(model, layer_index))
        checkpoint = Checkpoint(
            p.model_dump() | {"start": start.initial_epoch}, model.variables, [train, validation_split]
        )
        strategy.ensure_same_start(checkpoint.path.stem)
        frozen, trained = network.split_at(model, layer_index)
        views = Views(train, frozen, checkpoint.beside("train"), p.augmentation, p.seed, p.train.views, "float16")
        validation_views = Views(validation_split, frozen, checkpoint.beside("validation"))
        validation = loop.Validation(model, trained, validation_views, p.batch_size)
        settings = loop.Settings(
            stage, start.initial_epoch, getattr(p, stage), p.train, p.batch_size, p.seed, start.kept
        )
        write = partial(history.write, path=HISTORIES[stage], metrics_path=f"metrics/{stage}.json")
        result = loop.fit(model, trained, views, validation, settings, checkpoint, write)
        if not strategy.is_chief():
            return
    temperature = fit_temperature(validation_split.labels, result.logits)
    with files.replacing(model=MODELS[stage]) as out:
        saved_model.save(network.to_serving(model), train.classes, temperature, out.model)
    write(result.epochs, result.metrics)
    checkpoint.remove()
