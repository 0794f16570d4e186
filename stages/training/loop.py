"""Training: one phase of epochs."""

import math
import time
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import dataset
from stages.training import augmentation, history, strategy
from stages.common.cli import UserError
from stages.model.network import cut
from stages.model.backend import keras, tf


def class_weights(labels, kind):
    """Returns what each class's pictures weigh in the training loss, float [C].

    Args:
        labels: int [N], of the training split; every class occurs.
        kind: "none", every weight is 1, or "balanced": N / (C * pictures of the class), so that all C classes weigh the
            same and the mean weight is 1 (as in sklearn.utils.class_weight.compute_class_weight; King and Zeng 2001).
    """
    counts = np.bincount(labels)
    return np.ones(len(counts)) if kind == "none" else len(labels) / (len(counts) * counts)


def rate(learning_rate, schedule, epoch, epochs):
    """Returns the learning rate of an epoch, counted from 0.

    Args:
        learning_rate: of the first epoch.
        schedule: "constant", or "cosine": half a period of a cosine, which would reach 0 after the last of all `epochs`
            (I. Loshchilov, F. Hutter, SGDR, ICLR 2017, eq. 5).
    """
    return learning_rate if schedule == "constant" else learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def train(network, train_split, validate, checkpoint, *, phase, first_epoch, epochs, learning_rate, schedule, monitor,
          patience, batch_size, seed, flip, rotation, dropout, class_weights, watch):
    """Trains what of `network` is trainable, with a fresh Adam. Goes on where the same training was stopped, if it was.

    Args:
        network: what network.build made. At the end it has the weights of the epoch that is kept.
        train_split: dataset.Split.
        validate: what `validation` made for the network.
        checkpoint: Checkpoint of this very training.
        phase: name of the phase, for the history.
        first_epoch: number of the first epoch, counted from 1 through all phases.
        epochs: how many to train at most.
        learning_rate, schedule: as in `rate`.
        monitor, patience: training stops after `patience` epochs in which `monitor` became no better, and the best epoch
            is kept. "none": it does not stop, and the last is kept.
        batch_size: pictures per step.
        seed: of the order of pictures, their alterations and what is dropped, which depend on it and the number of the epoch
            alone.
        flip, rotation: as in augmentation.draw.
        dropout: fraction of the pooled features that is dropped; the others are scaled up (N. Srivastava et al., JMLR 2014).
        class_weights: what the function of this name returns. The validation loss is never weighted.
        watch: called after every epoch with the history so far.

    Returns:
        (DataFrame, array): a row per epoch with history.COLUMNS, and the validation logits of the epoch that is kept.

    Raises:
        UserError: the loss is no longer a number.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    if any(layer.compute_dtype == "float16" for layer in network.layers):  # its smallest number is far above some gradients
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    step, features = _training_step(network, optimizer, class_weights), network.layers[-1].input.shape[1]

    def draw(rng, count):
        alterations = augmentation.draw(rng, count, train_split.image_size, flip, rotation)
        return alterations, (rng.random((count, features), np.float32) >= dropout) / np.float32(1 - dropout)

    variables = [*network.variables, *optimizer.variables]
    rows, kept = [], []
    if found := checkpoint.load():
        rows, values, kept = found
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        print(f"going on after epoch {rows[-1]['epoch']}, where this training was stopped", flush=True)
    strategy.check_same(f"{checkpoint.path.stem} {len(rows)}")
    while len(rows) < epochs and not (rows and len(rows) - 1 - history.best(rows, monitor) >= patience):
        epoch, start = first_epoch + len(rows), time.monotonic()
        optimizer.learning_rate = rate(learning_rate, schedule, len(rows), epochs)
        trained = _epoch(step, train_split, batch_size, draw, [seed, epoch])
        validated, logits = validate()
        if not math.isfinite(trained["loss"] + validated["loss"]):
            raise UserError(f"the loss is no longer a number in epoch {epoch}, {phase}: lower the learning rate.")
        rows.append({
            "epoch": epoch, "phase": phase, **trained, **{f"val_{name}": value for name, value in validated.items()},
            "learning_rate": rate(learning_rate, schedule, len(rows), epochs), "kept": False,
        })
        if history.best(rows, monitor) == len(rows) - 1:
            kept = [logits, *([] if monitor == "none" else network.get_weights())]
        if not strategy.is_chief():
            continue
        checkpoint.save(rows, [variable.numpy() for variable in variables], kept)
        watch(pd.DataFrame(rows)[history.COLUMNS])
        print(f"epoch {epoch}: " + ", ".join(f"{name} {rows[-1][name]:.4f}" for name in history.COLUMNS[2:6])
              + f" ({time.monotonic() - start:.1f} s)", flush=True)
    logits, *weights = kept
    if weights:
        network.set_weights(weights)
    rows[history.best(rows, monitor)]["kept"] = True
    return pd.DataFrame(rows)[history.COLUMNS], logits


def validation(network, split, batch_size):
    """Returns a function without arguments that gives what `network` now makes of `split`.

    That is a dict with its accuracy and its mean loss, and its logits, float32 [N, 1] or [N, C] (network.build).
    """
    trunk, head = cut(network)
    look = strategy.function(lambda count, pixels: trunk(pixels), [_pictures(network)], partial(tf.concat, axis=0))
    seen = []

    def validate():
        if trunk.trainable_variables or not seen:  # a frozen base sees the same each time
            seen.clear()
            for rows, mine, cuts, pixels, _ in _steps(split, np.arange(len(split.labels)), batch_size, "validation"):
                seen.append((rows[mine], look(len(rows), cuts, pixels)))  # its numbers are not asked for: a GPU need not wait
        logits = np.zeros((len(split.labels), network.output_shape[1]))
        for rows, features in seen:
            logits[rows] = head(features)
        logits = strategy.total(logits).astype(np.float32)
        losses, right = _losses(logits, split.labels), _right(logits, split.labels)
        means = np.mean([right, losses], axis=1, dtype=np.float64)  # in float32, 5/9 would come out as 0.5555555820465088
        return dict(zip(["accuracy", "loss"], means.tolist())), logits

    return validate


def _epoch(step, split, batch_size, draw, seed):
    """Trains on every picture once and returns the accuracy and the mean loss on the way."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(split.labels))
    sums = [np.zeros(2)]
    for rows, mine, cuts, pixels, labels in _steps(split, order, batch_size, f"epoch {seed[-1]}"):
        alterations, kept = draw(rng, len(rows))
        sums.append(step(len(rows), cuts, pixels, labels, alterations[mine], kept[mine]))
    right, loss = strategy.total(np.sum(sums, axis=0, dtype=np.float64)) / len(order)
    return {"accuracy": float(right), "loss": float(loss)}


def _steps(split, order, batch_size, name):
    """Yields the steps of an epoch, and shows on a terminal how far it is.

    Args:
        split: dataset.Split.
        order: int [N], its rows in the order in which they come.
        batch_size: rows in a step; the last may have fewer.
        name: to show.

    Yields:
        (array, slice, array, array, array): the rows of the step; which of them this process computes, and where those are cut
        among its devices (strategy.share); pixels and labels of those that it computes.
    """
    steps = np.split(order, range(batch_size, len(order), batch_size))
    shares = [strategy.share(len(rows)) for rows in steps]
    batches = dataset.batches(split, (rows[mine] for rows, (mine, _) in zip(steps, shares)))
    with tqdm(None, name, len(order), unit="picture", leave=False, disable=None) as progress:
        for rows, share, batch in zip(steps, shares, batches):
            yield rows, *share, *batch
            progress.update(len(rows))


def _training_step(network, optimizer, class_weights):
    """Returns a function that takes one step on a batch and gives the sums of right answers and of weighted losses."""
    weights = tf.constant(class_weights, tf.float32)
    trunk, head = cut(network)

    def on_device(count, pixels, labels, alterations, kept):
        with tf.GradientTape() as tape:
            logits = head(trunk(augmentation.alter(pixels, alterations)) * kept)
            losses = _losses(logits, labels) * tf.gather(weights, labels)
            mean = optimizer.scale_loss(tf.reduce_sum(losses) / tf.cast(count, tf.float32))
        gradients = tape.gradient(mean, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients)  # which sums those of all devices
        return tf.stack([tf.reduce_sum(_right(logits, labels)), tf.reduce_sum(losses)])

    return strategy.function(on_device, [
        _pictures(network), tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 8], tf.float32),
        tf.TensorSpec([None, head.input.shape[1]], tf.float32),
    ], tf.add_n)


def _pictures(network):
    return tf.TensorSpec([None, *network.input_shape[1:]], tf.uint8)


def _losses(logits, labels):
    """Cross-entropy in nats, [n]: binary for one logit, [n, 1], categorical for more, [n, C]."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _right(logits, labels):
    """1 where a prediction is right, float32 [n]: one logit above 0 is a probability above 0.5 of the second class."""
    predicted = tf.cast(logits[:, 0] > 0, tf.int64) if logits.shape[1] == 1 else tf.argmax(logits, axis=1)
    return tf.cast(predicted == labels, tf.float32)
