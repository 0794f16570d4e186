"""Training: one phase of epochs."""

import math
import time

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import dataset, history
from stages.common.command import UserError
from stages.common.tensorflow import keras, ops, tf

ROOM = 100_000  # more of TensorFlow's running numbers than loading a state takes


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


def train(network, augmentation, train_split, validation_split, checkpoint, *, phase, first_epoch, epochs, learning_rate,
          schedule, monitor, patience, batch_size, seed, class_weights, watch):
    """Trains what of `network` is trainable, with a fresh Adam. Goes on where the same training was stopped, if it was.

    Args:
        network: what network.build made. At the end it has the weights of the epoch that is kept.
        augmentation: what network.augmentation made.
        train_split, validation_split: dataset.Split.
        checkpoint: Checkpoint of this very training.
        phase: name of the phase, for the history.
        first_epoch: number of the first epoch, counted from 1 through all phases.
        epochs: how many to train at most.
        learning_rate, schedule: as in `rate`.
        monitor, patience: training stops after `patience` epochs in which `monitor` became no better, and the best epoch
            is kept. "none": it does not stop, and the last is kept.
        batch_size: pictures per step.
        seed: of the order of pictures, which depends on it and the number of the epoch alone.
        class_weights: what the function of this name returns. The validation loss is never weighted.
        watch: called after every epoch with the history so far.

    Returns:
        DataFrame with a row per epoch and history.COLUMNS.

    Raises:
        UserError: the loss is no longer a number.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(network.trainable_variables)
    step = _training_step(network, augmentation, optimizer, class_weights)
    check = _validation_step(network)
    variables = [*network.variables, *augmentation.variables, *optimizer.variables]  # states of random generators too
    rows, best_weights = [], []
    step.get_concrete_function(), check.get_concrete_function()  # not later: tracing takes running numbers, too
    _count_to(ops.uid() + ROOM)
    if found := checkpoint.load():
        rows, (number, *values), best_weights = found
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        _count_to(number)
        print(f"going on after epoch {rows[-1]['epoch']}, where this training was stopped", flush=True)
    while len(rows) < epochs and not (rows and len(rows) - 1 - history.best(rows, monitor) >= patience):
        epoch, start = first_epoch + len(rows), time.monotonic()
        order = np.random.default_rng([seed, epoch]).permutation(len(train_split.labels))
        optimizer.learning_rate = rate(learning_rate, schedule, len(rows), epochs)
        trained = _run(step, dataset.batches(train_split, batch_size, order), len(order), f"epoch {epoch}")
        validated = _run(check, dataset.batches(validation_split, batch_size), len(validation_split.labels), "validation")
        if not math.isfinite(trained["loss"] + validated["loss"]):
            raise UserError(f"the loss is no longer a number in epoch {epoch}, {phase}: lower the learning rate.")
        rows.append({
            "epoch": epoch, "phase": phase, **trained, **{f"val_{name}": value for name, value in validated.items()},
            "learning_rate": rate(learning_rate, schedule, len(rows), epochs), "kept": False,
        })
        if monitor != "none" and history.best(rows, monitor) == len(rows) - 1:
            best_weights = network.get_weights()
        values = [variable.numpy() for variable in variables]
        checkpoint.save(rows, [np.array(ops.uid()), *values], best_weights)
        watch(pd.DataFrame(rows)[history.COLUMNS])
        print(f"epoch {epoch}: " + ", ".join(f"{name} {rows[-1][name]:.4f}" for name in history.COLUMNS[2:6])
              + f" ({time.monotonic() - start:.0f} s)", flush=True)
    if best_weights:
        network.set_weights(best_weights)
    rows[history.best(rows, monitor)]["kept"] = True
    return pd.DataFrame(rows)[history.COLUMNS]


def evaluate(network, split, batch_size):
    """Returns the accuracy and loss of `network` on `split` as a dict."""
    return _run(_validation_step(network), dataset.batches(split, batch_size), len(split.labels), "validation")


def logits(network, split, batch_size):
    """Returns the logits, float32 [N, 1] or [N, C] (network.build), that `network` gives to the pictures of `split`."""
    step = tf.function(
        lambda pixels: network(tf.cast(pixels, tf.float32), training=False), input_signature=_batch(network)[:1]
    )
    return np.concatenate([step(pixels) for pixels, _ in dataset.batches(split, batch_size)])


def _count_to(number):
    """Brings TensorFlow's running number to `number`: names in a SavedModel end in it, and are to be the same after a stop."""
    while ops.uid() < number:
        pass


def _run(step, batches, count, name):
    """Returns the accuracy and the mean loss over the `count` pictures of `batches`, as `step` sums them up."""
    sums = []
    with tqdm(None, name, count, unit="picture", leave=False, disable=None) as progress:
        for pixels, labels in batches:
            sums.append(step(pixels, labels))  # not looked at before the end, so that a GPU need not wait
            progress.update(len(labels))
    loss, right = np.sum(sums, axis=0, dtype=np.float64) / count
    return {"accuracy": float(right), "loss": float(loss)}


def _training_step(network, augmentation, optimizer, class_weights):
    """Returns a function that takes one step on a batch and gives the sums of weighted losses and of right answers."""
    weights = tf.constant(class_weights, tf.float32)

    @tf.function(input_signature=_batch(network))
    def step(pixels, labels):
        with tf.GradientTape() as tape:
            logits = network(augmentation(tf.cast(pixels, tf.float32), training=True), training=True)
            losses = _losses(logits, labels) * tf.gather(weights, labels)
            mean = tf.reduce_mean(losses)
        gradients = tape.gradient(mean, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients)
        return tf.reduce_sum(losses), _right(logits, labels)

    return step


def _validation_step(network):
    """Returns a function from a batch to the sums of its losses and of right answers."""

    @tf.function(input_signature=_batch(network))
    def step(pixels, labels):
        logits = network(tf.cast(pixels, tf.float32), training=False)
        return tf.reduce_sum(_losses(logits, labels)), _right(logits, labels)

    return step


def _batch(network):
    return tf.TensorSpec([None, *network.input_shape[1:]], tf.uint8), tf.TensorSpec([None], tf.int64)


def _losses(logits, labels):
    """Cross-entropy in nats, [n]: binary for one logit, [n, 1], categorical for more, [n, C]."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _right(logits, labels):
    """How many predictions are right, float32: one logit above 0 is a probability above 0.5 of the second class."""
    predicted = tf.cast(logits[:, 0] > 0, tf.int64) if logits.shape[1] == 1 else tf.argmax(logits, axis=1)
    return tf.reduce_sum(tf.cast(predicted == labels, tf.float32))
