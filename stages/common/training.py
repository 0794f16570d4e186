"""Training: batches from a split on disk, and one phase of epochs."""

import sys

import numpy as np
import pandas as pd

from stages.common.tensorflow import keras

HISTORY = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate"]


class Batches(keras.utils.PyDataset):
    """Batches of a split, read from disk as they are needed: (uint8 pixels, labels).

    With a seed, each epoch has an order of its own that depends on the seed and the number of the epoch alone.
    """

    def __init__(self, split, batch_size, seed=None, epoch=0):
        super().__init__()
        self.split, self.batch_size, self.seed, self.epoch = split, batch_size, seed, epoch
        self._arrange()

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.split.pixels[rows], self.split.labels[rows]

    def on_epoch_end(self):
        self.epoch += 1
        self._arrange()

    def _arrange(self):
        count = len(self.split.labels)
        self.order = (
            np.arange(count) if self.seed is None else np.random.default_rng([self.seed, self.epoch]).permutation(count)
        )


def compile_for(network, learning_rate):
    """Compiles a model with logits as output: Adam; binary cross-entropy for one logit, categorical for more."""
    one_logit = network.output_shape[-1] == 1
    loss = keras.losses.BinaryCrossentropy if one_logit else keras.losses.SparseCategoricalCrossentropy
    accuracy = (
        keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")  # a logit of 0 is a probability of 0.5
        if one_logit
        else keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    )
    network.compile(keras.optimizers.Adam(learning_rate), loss(from_logits=True), metrics=[accuracy])


def class_weights(labels, kind):
    """Returns what each class's pictures weigh in the training loss, as a dict from label to weight.

    Args:
        labels: int [N], of the training split; every class occurs.
        kind: "none", every weight is 1, or "balanced": N / (C * pictures of the class), so that all C classes weigh the
            same and the mean weight is 1 (as in sklearn.utils.class_weight.compute_class_weight; King and Zeng 2001).
    """
    counts = np.bincount(labels)
    weights = np.ones(len(counts)) if kind == "none" else len(labels) / (len(counts) * counts)
    return dict(enumerate(weights.tolist()))


def train(network, augmentation, train_split, validation_split, *, phase, first_epoch, epochs, learning_rate,
          batch_size, seed, class_weights):
    """Trains what of `network` is trainable.

    Args:
        network: what network.build made.
        augmentation: what network.augmentation made.
        train_split, validation_split: dataset.Split.
        phase: name of the phase, for the history.
        first_epoch: number of the first epoch, counted from 1 through all phases.
        epochs: how many to train.
        learning_rate: of a fresh Adam.
        batch_size: pictures per step.
        seed: of the order of pictures.
        class_weights: what the function of this name returns. The validation loss is never weighted.

    Returns:
        DataFrame with a row per epoch and the columns HISTORY.
    """
    inputs = keras.Input(train_split.pixels.shape[1:])
    learner = keras.Model(inputs, network(augmentation(inputs)))
    compile_for(learner, learning_rate)
    fitted = learner.fit(
        Batches(train_split, batch_size, seed, first_epoch - 1),
        validation_data=Batches(validation_split, batch_size),
        initial_epoch=first_epoch - 1,
        epochs=first_epoch - 1 + epochs,
        shuffle=False,  # Batches does that
        class_weight=class_weights,
        verbose=progress(),
    )
    history = pd.DataFrame(fitted.history)
    history["epoch"] = np.arange(first_epoch, first_epoch + epochs)
    history["phase"] = phase
    history["learning_rate"] = learning_rate
    return history[HISTORY]


def evaluate(network, split, batch_size):
    """Returns the loss and accuracy of `network` on `split` as a dict."""
    compile_for(network, 1e-3)  # the optimizer is not used
    return network.evaluate(Batches(split, batch_size), return_dict=True, verbose=0)


def progress():
    """Keras's `verbose`: a moving bar on a terminal, a line per epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def last_epoch(history):
    """Returns the metrics of the last epoch of a history as a dict of floats."""
    return {name: float(history[name].iloc[-1]) for name in ("accuracy", "loss", "val_accuracy", "val_loss")}
