"""Grad-CAM: heat maps of the evidence for a class in an image (R. R. Selvaraju et al., ICCV 2017)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from stages.common.arrays import Labels, Pixels

BATCH = 32  # number of images that are computed at a time


def heat_maps(
    feature_maps: Callable[[np.ndarray], tf.Tensor], kernel: Any, pixels: Pixels, labels: Labels
) -> np.ndarray:
    """Returns a heat map per image: how much evidence each place has for the class in `labels`.

    The channels of the base's last feature maps are summed, each weighted by the mean gradient of the class's logit
    with respect to it; values below 0 are evidence against the class and become 0 (eq. 1 and 2). With only global
    average pooling and one dense layer above the base, these gradients are that layer's weights over the number of
    places, whatever the image (section 3.1), and the number makes no difference. The map is as coarse as the feature
    maps, size / 32 places a side, and bilinearly enlarged to float32 [N, size, size]. Its maximum is 1, or 0 where
    there is no evidence for the class.

    Args:
        feature_maps: function from pixels to the base's last feature maps, float32 [N, size / 32, size / 32, D].
        kernel: weights of the head, float32 [D, C], or [D, 1] if its logit is that of the second of two classes.
    """
    size = pixels.shape[1]
    if kernel.shape[1] == 1:  # evidence for the second class is evidence against the first
        kernel = tf.concat([-kernel, kernel], axis=1)
    parts = [np.empty((0, size, size), np.float32)]
    for first in range(0, len(labels), BATCH):
        weights = tf.gather(kernel, labels[first : first + BATCH], axis=1)
        features = feature_maps(pixels[first : first + BATCH])
        heat = tf.nn.relu(tf.einsum("nyxd,dn->nyx", features, weights))[..., tf.newaxis]
        heat = tf.image.resize(heat, [size, size])[..., 0]
        parts.append(tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=[1, 2], keepdims=True)).numpy())
    return np.concatenate(parts)
