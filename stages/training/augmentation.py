"""Augmentation of training images. Random numbers are drawn here, with NumPy, and handed to TensorFlow as numbers."""

import math

import numpy as np
import tensorflow as tf

from stages.common import params

FLIPS = {
    "none": (False, False),
    "horizontal": (True, False),
    "vertical": (False, True),
    "horizontal_and_vertical": (True, True),
}


def random_transforms(rng: np.random.Generator, count: int, size: int, augmentation: params.Augmentation) -> np.ndarray:
    """Draws transforms of `count` images.

    Half of the images are flipped, each way by itself; all are rotated by an angle that is uniform in the range.

    Args:
        rng: generator of all random numbers.
        count: number of images, n.
        size: their side in pixels.
        augmentation: the group of params.yaml.

    Returns:
        float32 [n, 8]: (a, b, c, d, e, f, 0, 0) takes the pixel (x, y) of the augmented image from
        (a x + b y + c, d x + e y + f) of the image.
    """
    flipped = rng.random((count, 2)) < np.where(FLIPS[augmentation.flip], 0.5, 0)
    angle = rng.uniform(-1, 1, count) * augmentation.rotation * 2 * math.pi
    signs = np.where(flipped, -1, 1)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    matrix = signs[:, :, np.newaxis] * turn
    centre = (size - 1) / 2
    shift = centre - matrix.sum(axis=2) * centre
    rows = np.concatenate([matrix, shift[:, :, np.newaxis]], axis=2).reshape(count, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)


def apply_transforms(pixels: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Augments images in one bilinear resampling; beyond the border the image is reflected.

    Args:
        pixels: [n, size, size, 3].
        transforms: what `random_transforms` returns.

    Returns:
        float32, [n, size, size, 3].
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms,
        output_shape=tf.shape(pixels)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def preview(image: np.ndarray, seed: int, augmentation: params.Augmentation, count: int = 9) -> np.ndarray:
    """Returns an image, uint8 [size, size, 3], augmented `count` times: uint8 [count, size, size, 3]."""
    transforms = random_transforms(np.random.default_rng(seed), count, len(image), augmentation)
    augmented = apply_transforms(np.repeat(image[np.newaxis], count, axis=0), transforms)
    return np.clip(np.round(augmented), 0, 255).astype(np.uint8)
