"""One phase of training: what train_frozen and finetune share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from stages.common import dataset, files, history
from stages.common.params import BASE_LAYERS, Params
from stages.model import network, saved_model
from stages.model.temperature import fit_temperature
from stages.training import loop, strategy
from stages.training.checkpoint import Checkpoint, folder, key
from stages.training.views import Augmented, Stored, Views, remove

HISTORIES = {"train_frozen": "data/training/train_frozen.csv", "finetune": "data/training/finetune.csv"}
SHARED_AT = 120  # the first layer that finetune trains, unless finetune.fine_tune_at says otherwise
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
        images = Augmented(train, p.augmentation, p.seed, p.train.views)
        views, trained = store_views(model, layer_index, images, "float16", checkpoint.beside("train"))
        validation_views, _ = store_views(
            model, layer_index, Augmented(validation_split), "float32", checkpoint.beside("validation")
        )
        validation = loop.Validation(model, trained, validation_views, p.batch_size)
        settings = loop.Settings(
            stage, start.initial_epoch, getattr(p, stage), p.train, p.batch_size, p.seed, start.kept
        )
        write = partial(history.write, path=HISTORIES[stage], metrics_path=f"data/training/{stage}.json")
        result = loop.fit(model, trained, views, validation, settings, checkpoint, write)
        chief = strategy.is_chief()
    if chief:
        temperature = fit_temperature(validation_split.labels, result.logits)
        with files.replacing(model=MODELS[stage]) as out:
            saved_model.save(network.to_serving(model), train.classes, temperature, out.model)
        write(result.epochs, result.metrics)
        checkpoint.remove()
    for name in ("train", "validation"):
        private = checkpoint.beside(name)
        remove(private.parent.glob(f"{private.name}*"))
    if start.kept:  # no phase follows that needs them
        for split in (train, validation_split):
            remove(folder().glob(f"views-{split.sha256}-*"))


def store_views(
    model: keras.Model, layer_index: int, images: Augmented, dtype: str, private: Path
) -> tuple[Views, keras.Model]:
    """Returns the views that enter the trained part of a network (network.split_at), and that part.

    What comes out of the blocks below SHARED_AT is stored under a name of its own, whatever the phase: train_frozen
    leaves it for finetune.

    Args:
        model: the network.
        layer_index: the first layer of the base that is trained.
        images: what enters the network.
        dtype: of what is stored.
        private: path of what this phase alone needs.
    """
    frozen, trained = network.split_at(model, SHARED_AT if layer_index == BASE_LAYERS else layer_index)
    views: Views = images
    if len(frozen.layers) > 1:  # more than its input
        settings = images.settings | {"dtypes": [model.get_layer("base").compute_dtype, dtype]}
        name = f"views-{images.split.sha256}-{key(settings, frozen.variables, [])}-"
        views = Stored(images, frozen, folder() / name, dtype)
    if layer_index < BASE_LAYERS:
        return views, trained
    return Stored(views, trained, private, dtype), network.split_at(model, layer_index)[1]
