"""A phase of training, from its initial weights to its outputs: what train_frozen and finetune share."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from stages.common import arrays, dataset, files, history, terminal
from stages.common.params import BASE_LAYERS, Params, TrainFrozen, check_unchanged
from stages.common.phases import Phase
from stages.model import network, onnx_engine, saved_model
from stages.model.temperature import fit_temperature
from stages.training import distribution, fit
from stages.training.checkpoint import Checkpoint, folder, key
from stages.training.fit import Result
from stages.training.validation import Validation
from stages.training.views import Augmented, Stored, Views, remove

SHARED_AT = 120  # the first layer that finetune trains, unless finetune.fine_tune_at says otherwise


class Training:
    """The training of a phase. Its methods are called in their order; `network` begins with random weights.

    All but `write` and `remove_shared_views` belong into distribution.scope. `p` holds seed, batch_size, augmentation,
    train and the groups of the stage.
    """

    def __init__(self, phase: Phase, p: Params) -> None:
        self._phase, self._p, self._chief = phase, p, distribution.is_chief()
        self.train_split, self.validation_split = dataset.load("train"), dataset.load("validation")
        image_size, classes = self.train_split.image_size, len(self.train_split.classes)
        keras.utils.set_random_seed(p.seed)
        self.network = network.build(image_size, classes, p.train.mixed_precision)
        self._start: str | None = None  # SavedModel that training starts from
        self._initial_epoch = 1

    def continue_from(self, phase: Phase) -> dict[str, Any]:
        """Takes over the weights that a phase has left, and returns their row of its history; counts its epochs on."""
        epochs = history.read(phase.history)
        self._start = phase.saved_model
        saved_model.restore(self.network.weights, self._start)
        self._initial_epoch = int(epochs["epoch"].max()) + 1
        return epochs[epochs["kept"]].to_dict("records")[0]

    def freeze_below(self, layer_index: int) -> None:
        """Freezes the layers of the base below this one, and computes the views that enter the other layers.

        From then on `validate` validates the network.
        """
        p, model = self._p, self.network
        print(network.freeze_below(model, layer_index))
        settings = p.model_dump() | {"initial_epoch": self._initial_epoch}
        self._checkpoint = Checkpoint(settings, model.variables, [self.train_split, self.validation_split])
        distribution.ensure_same_start(self._checkpoint.path.stem)
        images = Augmented(self.train_split, p.augmentation, p.seed, p.train.views)
        private = self._checkpoint.beside
        self._views, self._trained = store_views(model, layer_index, images, "float16", private("train"))
        images = Augmented(self.validation_split)
        views, _ = store_views(model, layer_index, images, "float32", private("validation"))
        self.validate = Validation(model, self._trained, views, p.batch_size)

    def fit(self, phase: TrainFrozen, candidate: dict[str, Any] | None = None) -> Result:
        """Trains the network; a candidate is a row of the history that early stopping considers (fit.Settings)."""
        p, stage, epoch = self._p, self._phase.stage, self._initial_epoch
        settings = fit.Settings(stage, phase, p.train, p.batch_size, p.seed, epoch, candidate)
        views, checkpoint = self._views, self._checkpoint
        return fit.fit(self.network, self._trained, views, self.validate, settings, checkpoint, self._write_history)

    def write(self, result: Result, background: str = "") -> None:
        """Writes the model, its history and its metrics; a model that continues another keeps that one's background."""
        if self._chief:
            check_unchanged(self._p)
            metrics = {name: result.kept[name] for name in ("val_accuracy", "val_loss")}
            terminal.show(f"kept: {result.description}: {history.format_metrics(metrics)}")
            temperature = fit_temperature(self.validation_split.labels, result.logits)
            with files.replacing(model=self._phase.saved_model) as out:
                if self._start:
                    weights = {f"weights/{number}": value for number, value in enumerate(self.network.get_weights())}
                    saved_model.copy(self._start, out.model, weights | {"temperature": temperature})
                else:
                    serving = network.to_serving(self.network)
                    saved_model.save(serving, self.train_split.classes, temperature, out.model, background)
            metrics = history.summary(result.rows, result.kept) | result.metrics
            self._write_history(history.table(result.rows, result.kept), metrics)
            self._checkpoint.remove()
        remove(self._checkpoint.beside("train"))
        remove(self._checkpoint.beside("validation"))

    def write_features(self) -> None:
        """Writes the features of the images as they are, float16 [N, 1280]. The whole base is frozen."""
        if self._chief:
            for name, views in {"train": self._views, "validation": self.validate.views}.items():
                rows = np.arange(len(views.split.labels))
                with files.replacing(features=f"data/features/{name}.npy") as out:
                    arrays.save(out.features, views.read(rows, np.zeros_like(rows)).astype(np.float16))

    def _write_history(self, epochs: pd.DataFrame, metrics: dict[str, Any]) -> None:
        history.write(epochs, metrics, self._phase.history, self._phase.metrics)

    def remove_shared_views(self) -> None:
        """Removes the stored views that phases share."""
        for split in (self.train_split, self.validation_split):
            remove(folder() / f"views-{split.sha256}-")


def store_views(
    model: keras.Model, layer_index: int, images: Augmented, dtype: str, private: Path
) -> tuple[Views, keras.Model]:
    """Returns the views that enter the trained part of a network (network.split_at), and that part.

    The output of the blocks below SHARED_AT is stored under the same name in both phases: train_frozen leaves it for
    finetune. `private` is the path of the stored views that this phase alone needs, without their number.
    """
    frozen, trained = network.split_at(model, SHARED_AT if layer_index == BASE_LAYERS else layer_index)
    views: Views = images
    if len(frozen.layers) > 1:  # more than its input
        settings = {"dtypes": [model.get_layer("base").compute_dtype, dtype], "onnx": onnx_engine.suits(frozen)}
        name = f"views-{images.split.sha256}-{key(images.settings | settings, frozen.variables, [])}-"
        views = Stored(images, frozen, folder() / name, dtype)
    if layer_index < BASE_LAYERS:
        return views, trained
    return Stored(views, trained, private, dtype), network.split_at(model, layer_index)[1]
