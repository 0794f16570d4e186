"""The training loop: epochs of one phase, with validation, early stopping and resuming."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from stages.common import dataset, params
from stages.common.cli import UserError
from stages.model.network import split_head
from stages.training import augmentation, history, strategy
from stages.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Settings:
    """What a phase is trained with.

    Attributes:
        phase: its name, which is that of its stage.
        initial_epoch: number of the first epoch, counted from 1 through all phases.
        schedule: the group of params.yaml that has the phase's name.
        augmentation, train: groups of params.yaml.
        batch_size: images per step.
        seed: of the order of images, their augmentation and dropout, which depend on it and the number of the epoch
            alone.
    """

    phase: str
    initial_epoch: int
    schedule: params.TrainFrozen
    augmentation: params.Augmentation
    train: params.Train
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Batch:
    """One step of an epoch.

    Attributes:
        rows: int [n], which images of the split are in the step.
        shard: which of these this process computes, m of them.
        pixels: uint8 [m, size, size, 3], of those.
        labels: int64 [m].
    """

    rows: np.ndarray
    shard: strategy.Shard
    pixels: np.ndarray
    labels: np.ndarray


def fit(
    network: keras.Model,
    train: dataset.Split,
    validation: "Validation",
    settings: Settings,
    checkpoint: Checkpoint,
    on_epoch_end: Callable[[pd.DataFrame], object],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Trains the trainable weights of `network` with a fresh Adam. Resumes the same training, if it was stopped.

    Args:
        network: what network.build made. At the end it has the weights of the epoch that is kept.
        train: the training split.
        validation: of the network on the validation split. Its loss is never weighted by class.
        settings: of the phase.
        checkpoint: of this very training.
        on_epoch_end: called after every epoch with the history so far.

    Returns:
        (DataFrame, array): a row per epoch with history.COLUMNS, and the validation logits of the epoch that is kept:
        the best one by `early_stopping.monitor`, or the last one where that is "none".

    Raises:
        UserError: the loss is no longer a number.
    """
    schedule, monitor = settings.schedule, settings.schedule.early_stopping.monitor
    optimizer = _optimizer(network, schedule.learning_rate)
    train_step = _training_step(network, optimizer, class_weights(train.labels, settings.train.class_weights))
    state, features = [*network.variables, *optimizer.variables], network.layers[-1].input.shape[1]
    rows, best = checkpoint.restore(state)
    strategy.ensure_same_start(f"{checkpoint.path.stem} {len(rows)}")
    while len(rows) < schedule.epochs and not _stopped_early(rows, schedule.early_stopping):
        epoch, start = settings.initial_epoch + len(rows), time.monotonic()
        optimizer.learning_rate = learning_rate_at(len(rows), schedule)
        trained = _train_epoch(train_step, train, settings, epoch, features)
        validated, logits = validation()
        if not math.isfinite(trained["loss"] + validated["loss"]):
            raise UserError(
                f"the loss is no longer a number in epoch {epoch}, {settings.phase}: lower the learning rate."
            )
        row: dict[str, Any] = {"epoch": epoch, "phase": settings.phase, **trained}
        row |= {f"val_{name}": value for name, value in validated.items()}
        rows.append(row | {"learning_rate": learning_rate_at(len(rows), schedule), "kept": False})
        if history.best(rows, monitor) == len(rows) - 1:
            best = [logits, *([] if monitor == "none" else network.get_weights())]
        if strategy.is_chief():
            checkpoint.save(rows, [variable.numpy() for variable in state], best)
            on_epoch_end(pd.DataFrame(rows)[history.COLUMNS])
            print(f"{history.format_epoch(rows[-1])} ({time.monotonic() - start:.1f} s)", flush=True)
    logits, *weights = best
    if weights:
        network.set_weights(weights)
    rows[history.best(rows, monitor)]["kept"] = True
    return pd.DataFrame(rows)[history.COLUMNS], logits


class Validation:
    """The validation of a network on a split, as it now is: called without arguments, between epochs.

    Args:
        network: what network.build made.
        split: dataset.Split.
        batch_size: images at a time.
    """

    def __init__(self, network: keras.Model, split: dataset.Split, batch_size: int) -> None:
        self.split = split
        self._batch_size, self._outputs = batch_size, network.output_shape[1]
        self._extractor, self._head = split_head(network)
        self._extract = strategy.per_device(
            lambda count, pixels: self._extractor(pixels), [_pixels_of(network)], partial(tf.concat, axis=0)
        )
        self._features: list[tuple[np.ndarray, tf.Tensor]] = []

    def __call__(self) -> tuple[dict[str, float], np.ndarray]:
        """Returns accuracy and mean loss, and the logits, float32 [N, 1] or [N, C] (network.build)."""
        labels = self.split.labels
        if self._extractor.trainable_variables or not self._features:  # features of a frozen base stay the same
            self._features = [
                (batch.rows[batch.shard.own], self._extract(batch.shard, batch.pixels))  # not awaited: a GPU runs ahead
                for batch in _batches(self.split, np.arange(len(labels)), self._batch_size, "validation")
            ]
        logits = np.zeros((len(labels), self._outputs))
        for rows, features in self._features:
            logits[rows] = self._head(features)
        logits = strategy.sum_over_workers(logits).astype(np.float32)
        losses, correct = _losses(logits, labels), _correct(logits, labels)
        # In float64: in float32, 5/9 would come out as 0.5555555820465088.
        accuracy, loss = (float(np.mean(values, dtype=np.float64)) for values in (correct, losses))
        return {"accuracy": accuracy, "loss": loss}, logits


def class_weights(labels: np.ndarray, kind: str) -> np.ndarray:
    """Returns the weight of each class's images in the training loss, float [C].

    Args:
        labels: int [N], of the training split; every class occurs.
        kind: "none", every weight is 1, or "balanced": N / (C * images of the class), so that all C classes weigh the
            same and the mean weight is 1 (as in sklearn.utils.class_weight.compute_class_weight; King and Zeng 2001).
    """
    counts = np.bincount(labels)
    return np.ones(len(counts)) if kind == "none" else len(labels) / (len(counts) * counts)


def learning_rate_at(epoch: int, schedule: params.TrainFrozen) -> float:
    """Returns the learning rate of an epoch, counted from 0 in its phase.

    It is constant, or half a period of a cosine, which would reach 0 after the last of all epochs (I. Loshchilov,
    F. Hutter, SGDR, ICLR 2017, eq. 5).
    """
    if schedule.schedule == "constant":
        return schedule.learning_rate
    return schedule.learning_rate * (1 + math.cos(math.pi * epoch / schedule.epochs)) / 2


def _stopped_early(rows: list[dict], early_stopping: params.EarlyStopping) -> bool:
    return bool(rows) and len(rows) - 1 - history.best(rows, early_stopping.monitor) >= early_stopping.patience


def _optimizer(network: keras.Model, learning_rate: float) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(learning_rate)
    if any(
        layer.compute_dtype == "float16" for layer in network.layers
    ):  # its smallest number is far above some gradients
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer


def _train_epoch(
    train_step: Callable, split: dataset.Split, settings: Settings, epoch: int, features: int
) -> dict[str, float]:
    """Trains on every image once and returns the accuracy and the mean loss on the way; the head takes `features`."""
    rng = np.random.default_rng([settings.seed, epoch])
    order = rng.permutation(len(split.labels))
    sums = [np.zeros(2)]
    for batch in _batches(split, order, settings.batch_size, f"epoch {epoch}"):
        count, own = len(batch.rows), batch.shard.own
        transforms = augmentation.random_transforms(rng, count, split.image_size, settings.augmentation)
        mask = _dropout_mask(rng, (count, features), settings.train.dropout)
        sums.append(train_step(batch.shard, batch.pixels, batch.labels, transforms[own], mask[own]))
    total = np.asarray(np.sum(sums, axis=0, dtype=np.float64))
    correct, loss = strategy.sum_over_workers(total) / len(order)
    return {"accuracy": float(correct), "loss": float(loss)}


def _dropout_mask(rng: np.random.Generator, shape: tuple[int, int], dropout: float) -> np.ndarray:
    """Returns factors of the features, float32: 0, or 1 / (1 - dropout) (N. Srivastava et al., JMLR 2014)."""
    return (rng.random(shape, np.float32) >= dropout) / np.float32(1 - dropout)


def _batches(split: dataset.Split, order: np.ndarray, batch_size: int, name: str) -> Iterator[Batch]:
    """Yields the steps of an epoch, and shows progress on a terminal.

    Args:
        split: dataset.Split.
        order: int [N], its rows in the order in which they come.
        batch_size: rows in a step; the last may have fewer.
        name: to show.
    """
    steps = np.split(order, range(batch_size, len(order), batch_size))
    shards = [strategy.shard(len(rows)) for rows in steps]
    loaded = dataset.batches(split, (rows[shard.own] for rows, shard in zip(steps, shards, strict=True)))
    with tqdm(None, name, len(order), unit="image", leave=False, disable=None) as progress:
        for rows, shard, (pixels, labels) in zip(steps, shards, loaded, strict=True):
            yield Batch(rows, shard, pixels, labels)
            progress.update(len(rows))


def _training_step(network: keras.Model, optimizer: keras.optimizers.Optimizer, class_weights: np.ndarray) -> Callable:
    """Returns a function that takes one step and gives the sums of correct predictions and of weighted losses."""
    weights = tf.constant(class_weights, tf.float32)
    extractor, head = split_head(network)

    def on_device(
        count: tf.Tensor, pixels: tf.Tensor, labels: tf.Tensor, transforms: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = head(extractor(augmentation.apply_transforms(pixels, transforms)) * mask)
            losses = _losses(logits, labels) * tf.gather(weights, labels)
            mean = optimizer.scale_loss(tf.reduce_sum(losses) / tf.cast(count, tf.float32))
        gradients = tape.gradient(mean, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients)  # which sums those of all devices
        return tf.stack([tf.reduce_sum(_correct(logits, labels)), tf.reduce_sum(losses)])

    labels, transforms = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 8], tf.float32)
    mask = tf.TensorSpec([None, head.input.shape[1]], tf.float32)
    return strategy.per_device(on_device, [_pixels_of(network), labels, transforms, mask], tf.add_n)


def _pixels_of(network: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec([None, *network.input_shape[1:]], tf.uint8)


def _losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy in nats, [n]: binary for one logit, [n, 1], categorical for more, [n, C]."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1 where a prediction is correct, float32 [n]; one logit above 0 predicts the second of two classes."""
    predicted = tf.cast(logits[:, 0] > 0, tf.int64) if logits.shape[1] == 1 else tf.argmax(logits, axis=1)
    return tf.cast(predicted == labels, tf.float32)
