"""The training loop: epochs of one phase, with validation, early stopping and resuming."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from stages.common import history, params, terminal
from stages.common.cli import UserError
from stages.training import mixing, strategy
from stages.training.checkpoint import Checkpoint
from stages.training.views import Views, batches


@dataclass(frozen=True)
class Settings:
    """What a phase is trained with.

    Attributes:
        phase: its name, which is that of its stage.
        initial_epoch: number of the first epoch, counted from 1 through all phases.
        schedule: the group of params.yaml that has the phase's name.
        train: the group of params.yaml.
        batch_size: images per step.
        seed: of the order of images and dropout, which depend on it and the number of the epoch alone.
        start: the row of the history whose weights the phase starts from, the frozen model; None where the head is new.
    """

    phase: str
    initial_epoch: int
    schedule: params.TrainFrozen
    train: params.Train
    batch_size: int
    seed: int
    start: dict[str, Any] | None = None


@dataclass(frozen=True)
class Result:
    """What training ends with.

    Attributes:
        epochs: a row per epoch with history.COLUMNS.
        metrics: of the model that is kept (history.summary); of fine-tuning, also `mix`, the fraction of fine-tuned
            weights in it, the rest being the frozen model's, and `start`, the frozen model's validation metrics.
        logits: of that model for the validation split, float32.
    """

    epochs: pd.DataFrame
    metrics: dict[str, Any]
    logits: np.ndarray


def fit(
    network: keras.Model,
    trained: keras.Model,
    views: Views,
    validation: "Validation",
    settings: Settings,
    checkpoint: Checkpoint,
    on_epoch_end: Callable[[pd.DataFrame, dict[str, Any]], object],
) -> Result:
    """Trains the trainable weights of `network` with a fresh Adam. Resumes the same training, if it was stopped.

    Every pass shows the next view of an image; which one comes first is drawn for each image.

    Args:
        network: what network.build made. At the end it has the weights that are kept: of the best epoch by
            `early_stopping.monitor`, or of the last where that is "none"; of fine-tuning, mixed (mixing.mix).
        trained: its trained part (network.split_at).
        views: of the training split.
        validation: of the network on the validation split. Its loss is never weighted by class.
        settings: of the phase.
        checkpoint: of this very training.
        on_epoch_end: called after every epoch with the history and its metrics so far.

    Raises:
        UserError: the loss is no longer a number.
    """
    schedule, monitor = settings.schedule, settings.schedule.early_stopping.monitor
    optimizer = _optimizer(network, schedule.learning_rate)
    train_step = _training_step(network, trained, views, optimizer, settings.train)
    state = [*network.variables, *optimizer.variables]
    weights = network.get_weights()
    measured = _measure_start(validation) if settings.start is not None else {}
    rows, best = checkpoint.restore(state)
    strategy.ensure_same_start(f"{checkpoint.path.stem} {len(rows)}")
    _print(history.HEADER)
    while len(rows) < schedule.epochs and not _stopped_early(rows, settings):
        began = time.monotonic()
        learned = _train_epoch(train_step, optimizer, views, settings, len(rows), trained.output_shape[1])
        validated, logits = validation()
        epoch = settings.initial_epoch + len(rows)
        row: dict[str, Any] = {"epoch": epoch, "phase": settings.phase} | learned | validated
        rows.append(_require_finite(row))
        if history.best(rows, monitor) == len(rows) - 1:
            best = [logits, *([] if monitor == "none" else network.get_weights())]
        if strategy.is_chief():
            checkpoint.save(rows, [variable.numpy() for variable in state], best)
            on_epoch_end(history.table(rows), history.summary(rows, row))
            print(history.format_epoch(row, time.monotonic() - began), flush=True)
    logits, *best_weights = best
    if best_weights:
        network.set_weights(best_weights)
    kept = rows[history.best(rows, monitor)]
    _describe_end(len(rows), kept, settings)
    if settings.start is None or not isinstance(schedule, params.Finetune):
        return Result(history.table(rows, kept), history.summary(rows, kept), logits)
    fraction, validated, logits = mixing.mix(network, weights, validation, schedule.mix)
    kept = kept if fraction else settings.start
    metrics = history.summary(rows, kept | validated) | {"mix": fraction, "start": measured}
    terminal.show(mixing.describe(metrics, schedule.mix == "auto"))
    return Result(history.table(rows, kept), metrics, logits)


class Validation:
    """The validation of a network on a split, as it now is: called without arguments, between epochs.

    Images that are near-duplicates of each other count as one.

    Args:
        network: what network.build made.
        trained: its trained part (network.split_at).
        views: of the validation split, one of each image.
        batch_size: images at a time.
    """

    def __init__(self, network: keras.Model, trained: keras.Model, views: Views, batch_size: int) -> None:
        self._views, self._batch_size, self._outputs = views, batch_size, network.output_shape[1]
        head, inputs = network.layers[-1], trained.input.dtype
        self._logits = strategy.per_device(
            lambda count, inputs_: head(trained(tf.cast(inputs_, inputs))), [views.spec], partial(tf.concat, axis=0)
        )
        _, group, sizes = np.unique(views.split.manifest["duplicates"], return_inverse=True, return_counts=True)
        self._weights = 1 / sizes[group]

    def __call__(self) -> tuple[dict[str, float], np.ndarray]:
        """Returns val_accuracy and val_loss, and the logits, float32 [N, 1] or [N, C] (network.build)."""
        labels = self._views.split.labels
        logits, order = np.zeros((len(labels), self._outputs)), (np.arange(len(labels)), np.zeros(len(labels), int))
        for batch in batches(self._views, [order], self._batch_size, "validation"):
            logits[batch.rows[batch.shard.own]] = self._logits(batch.shard, batch.inputs)
        logits = strategy.sum_over_workers(logits).astype(np.float32)
        # In float64: in float32, 5/9 would come out as 0.5555555820465088.
        accuracy, loss = (
            float(np.average(np.asarray(values, np.float64), weights=self._weights))
            for values in (_correct(logits, labels), _losses(logits, labels))
        )
        return {"val_accuracy": accuracy, "val_loss": loss}, logits


def class_weights(labels: np.ndarray, kind: str) -> np.ndarray:
    """Returns the weight of each class's images in the training loss, float [C].

    Args:
        labels: int [N], of the training split; every class occurs.
        kind: "none", every weight is 1, or "balanced": N / (C * images of the class), so that all C classes weigh the
            same and the mean weight is 1 (as in sklearn.utils.class_weight.compute_class_weight; King and Zeng 2001).
    """
    counts = np.bincount(labels)
    return np.ones(len(counts)) if kind == "none" else len(labels) / (len(counts) * counts)


def learning_rate_at(progress: float, schedule: params.TrainFrozen) -> float:
    """Returns the learning rate at a step of a phase.

    It rises linearly for the fraction `warmup` of all steps (P. Goyal et al., 2017, section 2.2). From there on it is
    constant, or half a period of a cosine, which would reach 0 after the last step (I. Loshchilov, F. Hutter, SGDR,
    ICLR 2017, eq. 5).

    Args:
        progress: the fraction of all steps of the phase that are over in the middle of the step, in (0, 1).
        schedule: the group of params.yaml.
    """
    if progress < schedule.warmup:
        return schedule.learning_rate * progress / schedule.warmup
    if schedule.schedule == "constant":
        return schedule.learning_rate
    fraction = (progress - schedule.warmup) / (1 - schedule.warmup)
    return schedule.learning_rate * (1 + math.cos(math.pi * fraction)) / 2


def _measure_start(validation: Validation) -> dict[str, float]:
    """Validates the frozen model that fine-tuning starts from, and says what it measures."""
    metrics, _ = validation()
    print(f"starting from the frozen model: {history.format_metrics(metrics)}", flush=True)
    return metrics


def _describe_end(epochs: int, kept: dict[str, Any], settings: Settings) -> None:
    """Says whether the phase stopped early, and which epoch is kept, unless it is mixed with others."""
    early_stopping = settings.schedule.early_stopping
    if epochs < settings.schedule.epochs:
        _print(f"stopped early: no better {early_stopping.monitor} in {early_stopping.patience} epochs")
    if settings.start is None:
        numbers = history.format_metrics({name: kept[name] for name in ("val_accuracy", "val_loss")})
        _print(f"kept: epoch {kept['epoch']}: {numbers}")


def _print(text: str) -> None:
    """Prints a line, once for all workers."""
    if strategy.is_chief():
        print(text, flush=True)


def _require_finite(row: dict[str, Any]) -> dict[str, Any]:
    """Returns the row of an epoch; raises a UserError if its loss is no number."""
    if not math.isfinite(row["loss"] + row["val_loss"]):
        raise UserError(
            f"the loss is no longer a number in epoch {row['epoch']}, {row['phase']}: lower the learning rate."
        )
    return row


def _stopped_early(rows: list[dict], settings: Settings) -> bool:
    """Whether no epoch of the last `patience` ones was the best so far; the model at the start counts as one."""
    early_stopping = settings.schedule.early_stopping
    candidates = [*([settings.start] if settings.start else []), *rows]
    if not rows or early_stopping.monitor == "none":
        return False
    return len(candidates) - 1 - history.best(candidates, early_stopping.monitor) >= early_stopping.patience


def _optimizer(network: keras.Model, learning_rate: float) -> keras.optimizers.Optimizer:
    # Fine-tuning starts with gradients near 0, because the head has converged; Keras's own epsilon would let Adam make
    # steps of full length of them.
    optimizer = keras.optimizers.Adam(learning_rate, epsilon=1e-5)
    if any(layer.compute_dtype == "float16" for layer in network.layers):  # where small gradients would become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer


def _train_epoch(
    train_step: Callable,
    optimizer: keras.optimizers.Optimizer,
    views: Views,
    settings: Settings,
    finished: int,
    features: int,
) -> dict[str, float]:
    """Trains for an epoch, after `finished` ones; the head takes `features`.

    Returns:
        The accuracy and the mean loss of the training images on the way, and the mean learning rate.
    """
    schedule, epoch = settings.schedule, settings.initial_epoch + finished
    rng, count = np.random.default_rng([settings.seed, epoch]), len(views.split.labels)
    first = np.random.default_rng(settings.seed).integers(views.count, size=count)  # view of each image; others follow
    passes = [
        (rng.permutation(count), (first + finished * schedule.passes + number) % views.count)
        for number in range(schedule.passes)
    ]
    steps = schedule.passes * math.ceil(count / settings.batch_size)
    sums, rates = [np.zeros(2)], list[float]()
    for batch in batches(views, passes, settings.batch_size, f"epoch {epoch}"):
        rates.append(learning_rate_at((finished + (len(rates) + 0.5) / steps) / schedule.epochs, schedule))
        optimizer.learning_rate = rates[-1]
        mask = _dropout_mask(rng, (len(batch.rows), features), settings.train.dropout)
        sums.append(train_step(batch.shard, batch.inputs, batch.labels, mask[batch.shard.own]))
    total = np.asarray(np.sum(sums, axis=0, dtype=np.float64))
    correct, loss = strategy.sum_over_workers(total) / (count * schedule.passes)
    return {"accuracy": float(correct), "loss": float(loss), "learning_rate": float(np.mean(rates))}


def _dropout_mask(rng: np.random.Generator, shape: tuple[int, int], dropout: float) -> np.ndarray:
    """Returns factors of the features, float32: 0, or 1 / (1 - dropout) (N. Srivastava et al., JMLR 2014)."""
    return (rng.random(shape, np.float32) >= dropout) / np.float32(1 - dropout)


def _training_step(
    network: keras.Model,
    trained: keras.Model,
    views: Views,
    optimizer: keras.optimizers.Optimizer,
    train: params.Train,
) -> Callable:
    """Returns a function that takes one step and gives the sums of correct predictions and of weighted losses."""
    weights = tf.constant(class_weights(views.split.labels, train.class_weights), tf.float32)
    head, images, devices = network.layers[-1], len(views.split.labels), strategy.device_count()

    def on_device(count: tf.Tensor, inputs: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = head(trained(tf.cast(inputs, trained.input.dtype)) * mask)
            losses = _losses(logits, labels) * tf.gather(weights, labels)
            penalty = train.l2 / 2 / images * tf.reduce_sum(head.kernel.value**2)
            mean = tf.reduce_sum(losses) / tf.cast(count, tf.float32) + penalty / devices
            mean = optimizer.scale_loss(mean)
        gradients = tape.gradient(mean, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients)  # which sums those of all devices
        return tf.stack([tf.reduce_sum(_correct(logits, labels)), tf.reduce_sum(losses)])

    labels, mask = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, trained.output_shape[1]], tf.float32)
    return strategy.per_device(on_device, [views.spec, labels, mask], tf.add_n)


def _losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy in nats, [n]: binary for one logit, [n, 1], categorical for more, [n, C]."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1 where a prediction is correct, float32 [n]; one logit above 0 predicts the second of two classes."""
    predicted = tf.cast(logits[:, 0] > 0, tf.int64) if logits.shape[1] == 1 else tf.argmax(logits, axis=1)
    return tf.cast(predicted == labels, tf.float32)
