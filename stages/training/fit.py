"""The training loop of a phase: epochs, validation, early stopping and checkpoints."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd

from stages.common import history, params
from stages.common.arrays import Logits
from stages.common.cli import UserError
from stages.training import distribution, learning_rate, optimizer, step
from stages.training.checkpoint import Checkpoint
from stages.training.validation import Validation
from stages.training.views import Views, batches


@dataclass(frozen=True)
class Settings:
    """Settings of a phase."""

    stage: str  # name of its stage
    phase: params.TrainFrozen  # its group of params.yaml
    train: params.Train  # the group of params.yaml that both phases share
    batch_size: int  # images per step
    seed: int  # seed of dropout and the order of images, which depend on it and the number of the epoch alone
    initial_epoch: int = 1  # number of the first epoch, counted through all phases
    candidate: dict[str, Any] | None = None  # row of the initial weights, if early stopping compares epochs with it


@dataclass(frozen=True)
class Result:
    """Outcome of a phase, whose network has the weights that are kept."""

    rows: list[dict[str, Any]]  # the history, a dict for each epoch with history.COLUMNS except `kept`
    kept: dict[str, Any]  # the row whose weights are kept
    logits: Logits  # logits of the validation split with these weights
    description: str  # the weights that are kept, in words
    metrics: dict[str, Any] = field(default_factory=dict)  # metrics of the phase besides those of history.summary


def fit(
    network: keras.Model,
    trained: keras.Model,
    views: Views,
    validate: Validation,
    settings: Settings,
    checkpoint: Checkpoint,
    on_epoch_end: Callable[[pd.DataFrame, dict[str, Any]], object],
) -> Result:
    """Trains the trainable weights of a network with a fresh Adam, or resumes this training from its checkpoint.

    Validates averaged weights (optimizer.Adam) and keeps those of the best epoch by `early_stopping.monitor`, or of the
    last if that is "none". Calls `on_epoch_end` after every epoch with the history and the metrics of the epoch that is
    the one to keep so far. The views of the training split enter `trained`, the trained part of the network
    (network.split_at).

    Raises:
        UserError: the loss is no longer a number.
    """
    phase, monitor = settings.phase, settings.phase.early_stopping.monitor
    steps = phase.epochs * phase.passes * math.ceil(len(views.split.labels) / settings.batch_size)
    rates = learning_rate.schedule(phase, steps)
    adam = optimizer.make_optimizer(network, rates, phase.averaging * steps)
    train_step = step.make_step(network, trained, views, adam, settings.train)
    weights = network.trainable_variables
    state = [*weights, *adam.variables]
    rows, best = checkpoint.restore(state)
    distribution.ensure_same_start(f"{checkpoint.path.stem} {len(rows)}")
    distribution.print_once(history.HEADER)
    while len(rows) < phase.epochs and not _stopped_early(rows, settings):
        began = time.monotonic()
        learned = _train_epoch(train_step, views, settings, len(rows), trained.output_shape[1])
        learned["learning_rate"] = float(np.mean(np.split(rates, phase.epochs)[len(rows)], dtype=np.float64))
        with optimizer.averaged(network, adam):
            (validated, logits), averages = validate(), [weight.numpy() for weight in weights]
        epoch = settings.initial_epoch + len(rows)
        row: dict[str, Any] = {"epoch": epoch, "phase": settings.stage} | learned | validated
        if not math.isfinite(row["loss"] + row["val_loss"]):
            where = f"epoch {epoch}, {settings.stage}"
            raise UserError(f"the loss is no longer a number in {where}: lower the learning rate.")
        rows.append(row)
        if history.best(rows, monitor) == len(rows) - 1:
            best = [logits, *averages]
        if distribution.is_chief():
            checkpoint.save(rows, [variable.numpy() for variable in state], best)
            on_epoch_end(history.table(rows), history.summary(rows, rows[history.best(rows, monitor)]))
            print(history.format_epoch(row, time.monotonic() - began), flush=True)
    logits, *averages = best
    for weight, average in zip(weights, averages, strict=True):
        weight.assign(average)
    if len(rows) < phase.epochs:
        distribution.print_once(f"stopped early: no better {monitor} in {phase.early_stopping.patience} epochs")
    kept = rows[history.best(rows, monitor)]
    return Result(rows, kept, logits, _description(kept, phase))


def _description(kept: dict[str, Any], phase: params.TrainFrozen) -> str:
    monitor = phase.early_stopping.monitor
    why = "the last" if monitor == "none" else f"which has the best {monitor}"
    averaged = f", with weights averaged over about {phase.averaging:.0%} of all steps" if phase.averaging else ""
    return f"epoch {kept['epoch']}, {why}{averaged}"


def _stopped_early(rows: list[dict[str, Any]], settings: Settings) -> bool:
    """Returns whether the best epoch, or the candidate before all epochs, is `patience` epochs back."""
    early_stopping = settings.phase.early_stopping
    if not rows or early_stopping.monitor == "none":
        return False
    candidates = [settings.candidate, *rows] if settings.candidate else rows
    return len(candidates) - 1 - history.best(candidates, early_stopping.monitor) >= early_stopping.patience


def _train_epoch(
    train_step: Callable, views: Views, settings: Settings, finished: int, features: int
) -> dict[str, float]:
    """Trains for one epoch, after `finished` ones, a head that takes so many features.

    Every pass shows the next view of each image; the first view is drawn for each image. Returns accuracy and mean loss
    of the training images during the epoch.
    """
    phase, epoch = settings.phase, settings.initial_epoch + finished
    rng, count = np.random.default_rng([settings.seed, epoch]), len(views.split.labels)
    first = np.random.default_rng(settings.seed).integers(views.count, size=count)
    passes = [
        (rng.permutation(count), (first + finished * phase.passes + number) % views.count)
        for number in range(phase.passes)
    ]
    sums = [np.zeros(2)]
    for batch in batches(views, passes, settings.batch_size, f"epoch {epoch}"):
        mask = step.dropout_mask(rng, (len(batch.rows), features), settings.train.dropout)
        sums.append(train_step(batch.shard, batch.inputs, batch.labels, mask[batch.shard.own]))
    total = np.asarray(np.sum(sums, axis=0, dtype=np.float64))
    correct, loss = distribution.sum_over_workers(total) / (count * phase.passes)
    return {"accuracy": float(correct), "loss": float(loss)}
