"""Grad-CAM: heat maps of the evidence for a class in an image (R. R. Selvaraju et al., ICCV 2017)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

BATCH = 32  # images at once


def heat_maps(
    feature_maps: Callable[[np.ndarray], tf.Tensor], kernel: Any, pixels: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Returns a heat map per image: how much evidence each place has for the class in `labels`.

    The channels of the base's last feature maps are summed, each weighted by the mean gradient of the class's logit
    with respect to it; what is below 0 is evidence against the class and becomes 0 (eq. 1 and 2). With only global
    average pooling and one dense layer above the base, these gradients are that layer's weights over the number of
    places, whatever the image (section 3.1), and the number makes no difference. The map is as coarse as the feature
    maps, size / 32 places a side, and bilinearly enlarged.

    Args:
        feature_maps: a function from pixels, as below, to the base's last feature maps, float32
            [N, size / 32, size / 32, D].
        kernel: of the head, float32 [D, C], or [D, 1] if its logit is that of the second of two classes.
        pixels: uint8 [N, size, size, 3].
        labels: int [N], the class to explain: its place among the class names.

    Returns:
        float32 [N, size, size] in [0, 1]; the highest value of each is 1, or 0 where there is no evidence for the
        class.
    """
    size = pixels.shape[1]
    if kernel.shape[1] == 1:  # evidence for the second class is evidence against the first
        kernel = tf.concat([-kernel, kernel], axis=1)
    parts = [np.empty((0, size, size), np.float32)]
    for start in range(0, len(labels), BATCH):
        weights = tf.gather(kernel, labels[start : start + BATCH], axis=1)
        features = feature_maps(pixels[start : start + BATCH])
        heat = tf.nn.relu(tf.einsum("nyxd,dn->nyx", features, weights))[..., tf.newaxis]
        heat = tf.image.resize(heat, [size, size])[..., 0]
        parts.append(tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=[1, 2], keepdims=True)).numpy())
    return np.concatenate(parts)
