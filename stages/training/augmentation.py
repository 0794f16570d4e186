"""How training alters pictures at random. All chance is drawn here, with numpy, and handed to TensorFlow as numbers."""

import math

import numpy as np

from stages.model.backend import tf

FLIPS = {"none": (False, False), "horizontal": (True, False), "vertical": (False, True), "horizontal_and_vertical": (True, True)}


def draw(rng, count, size, flip, rotation):
    """Draws alterations of `count` pictures.

    Args:
        rng: numpy.random.Generator.
        count: number of pictures, n.
        size: their side in pixels.
        flip: none, horizontal, vertical or horizontal_and_vertical: half of the pictures, each way by itself.
        rotation: by up to this fraction of a full turn, either way.

    Returns:
        float32 [n, 8]: (a, b, c, d, e, f, 0, 0) takes the pixel (x, y) of the altered picture from
        (a x + b y + c, d x + e y + f) of the picture.
    """
    flipped = rng.random((count, 2)) < np.where(FLIPS[flip], 0.5, 0)
    angle = rng.uniform(-1, 1, count) * rotation * 2 * math.pi
    signs = np.where(flipped, -1, 1)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    matrix = signs[:, :, np.newaxis] * turn
    centre = (size - 1) / 2
    shift = centre - matrix.sum(axis=2) * centre
    rows = np.concatenate([matrix, shift[:, :, np.newaxis]], axis=2).reshape(count, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)


def alter(pixels, alterations):
    """Flips and rotates in one resampling, bilinear; what turns into view is a reflection.

    Args:
        pixels: [n, size, size, 3].
        alterations: what `draw` returns.

    Returns:
        float32 tensor, [n, size, size, 3].
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32), transforms=alterations, output_shape=tf.shape(pixels)[1:3], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="REFLECT",
    )
