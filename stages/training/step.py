"""A training step: the loss of a batch, its gradient, and the update of the trainable weights."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from stages.common import params
from stages.common.arrays import Labels
from stages.training import distribution, validation
from stages.training.views import Views


def make_step(
    network: keras.Model, trained: keras.Model, views: Views, optimizer: Optimizer, train: params.Train
) -> Callable:
    """Returns a function that takes one step and returns the sums of correct predictions and of weighted losses.

    Its arguments are a strategy.Shard, the views, labels and dropout masks of its rows.
    """
    weights = tf.constant(class_weights(views.split.labels, train.class_weights), tf.float32)
    head, images, devices = network.layers[-1], len(views.split.labels), distribution.device_count()

    def on_device(count: tf.Tensor, inputs: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = head(trained(tf.cast(inputs, trained.input.dtype), training=True) * mask)
            losses = validation.losses(logits, labels) * tf.gather(weights, labels)
            penalty = train.l2 / 2 / images * tf.reduce_sum(head.kernel.value**2)
            mean = tf.reduce_sum(losses) / tf.cast(count, tf.float32) + penalty / devices
            mean = optimizer.scale_loss(mean)
        gradients = tape.gradient(mean, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients)  # sums the gradients of all devices
        return tf.stack([tf.reduce_sum(validation.correct(logits, labels)), tf.reduce_sum(losses)])

    labels, mask = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, trained.output_shape[1]], tf.float32)
    return distribution.per_device(on_device, [views.spec, labels, mask], tf.add_n)


def dropout_mask(rng: np.random.Generator, shape: tuple[int, int], dropout: float) -> np.ndarray:
    """Returns factors of the features, float32: 0, or 1 / (1 - dropout) (N. Srivastava et al., JMLR 2014)."""
    return (rng.random(shape, np.float32) >= dropout) / np.float32(1 - dropout)


def class_weights(labels: Labels, kind: str) -> np.ndarray:
    """Returns the weight of each class's images in the training loss, float [C]; every class occurs.

    If `kind` is "none", each is 1; if it is "balanced", N / (C * images of the class), so that all C classes weigh the
    same and the mean weight is 1 (as in sklearn.utils.class_weight.compute_class_weight; King and Zeng 2001).
    """
    counts = np.bincount(labels)
    return np.ones(len(counts)) if kind == "none" else len(labels) / (len(counts) * counts)
