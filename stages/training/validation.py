"""Loss and accuracy of predictions, and their measurement on the validation split between epochs."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from stages.common.arrays import Logits
from stages.training import distribution
from stages.training.views import Views, batches


class Validation:
    """Validation of a network with the weights that it has at the moment. Near-duplicates together count as one image.

    The views, one of each image of the validation split, enter the trained part of the network (network.split_at).
    """

    def __init__(self, network: keras.Model, trained: keras.Model, views: Views, batch_size: int) -> None:
        self.views, self._batch_size, self._outputs = views, batch_size, network.output_shape[1]
        head, dtype = network.layers[-1], trained.input.dtype
        self._logits = distribution.per_device(
            lambda _, inputs: head(trained(tf.cast(inputs, dtype))), [views.spec], partial(tf.concat, axis=0)
        )
        _, group, sizes = np.unique(views.split.manifest["duplicates"], return_inverse=True, return_counts=True)
        self._weights = 1 / sizes[group]

    def __call__(self) -> tuple[dict[str, float], Logits]:
        """Returns val_accuracy and val_loss, never weighted by class, and the logits."""
        labels = self.views.split.labels
        logits, order = np.zeros((len(labels), self._outputs)), (np.arange(len(labels)), np.zeros(len(labels), int))
        for batch in batches(self.views, [order], self._batch_size, "validation"):
            logits[batch.rows[batch.shard.own]] = self._logits(batch.shard, batch.inputs)
        logits = distribution.sum_over_workers(logits).astype(np.float32)
        metrics = {"val_accuracy": correct(logits, labels), "val_loss": losses(logits, labels)}
        for name, values in metrics.items():  # averaged in float64: in float32, 5/9 would be 0.5555555820465088
            metrics[name] = float(np.average(np.asarray(values, np.float64), weights=self._weights))
        return metrics, logits


def losses(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of each image in nats, float32 [n]: binary for one logit, categorical for more."""
    if logits.shape[1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits[:, 0])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns 1 for a correct prediction and 0 for others, float32 [n]; one logit above 0 predicts the second class."""
    predicted = tf.cast(logits[:, 0] > 0, tf.int64) if logits.shape[1] == 1 else tf.argmax(logits, axis=1)
    return tf.cast(predicted == labels, tf.float32)
