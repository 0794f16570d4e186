"""Augmentation of training images. Random numbers are drawn here, with NumPy; TensorFlow applies them."""

import math

import numpy as np
import tensorflow as tf

from stages.common import arrays, files, params

ASPECT = 4 / 3  # highest aspect ratio of a crop; the lowest is 3 / 4 (C. Szegedy et al., CVPR 2015, section 6)
GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue in the luma (ITU-R BT.601)


def random_transforms(rng: np.random.Generator, count: int, size: int, augmentation: params.Augmentation) -> np.ndarray:
    """Draws transforms for `count` images with a side of `size` pixels.

    A rectangle is cropped, its area and aspect ratio (on a logarithmic scale) uniform in their ranges, and resized to
    the whole square; each flip is applied to half of the images; rotation angles are uniform in their range; factors of
    brightness, contrast and saturation are uniform around 1.

    Returns:
        float32 [count, 11]: (a, b, c, d, e, f, 0, 0, ...) takes the pixel (x, y) of the augmented image from
        (a x + b y + c, d x + e y + f) of the image; the last three are the factors of brightness, contrast and
        saturation.
    """
    flips = [axis in augmentation.flip for axis in ("horizontal", "vertical")]  # both in "horizontal_and_vertical"
    flipped = rng.random((count, 2)) < np.where(flips, 0.5, 0)
    angle = rng.uniform(-1, 1, count) * augmentation.rotation * 2 * math.pi
    area = rng.uniform(augmentation.crop, 1, count)
    aspect = np.exp(rng.uniform(-1, 1, count) * math.log(ASPECT)) if augmentation.crop < 1 else np.ones(count)
    sides = np.sqrt(np.stack([area * aspect, area / aspect], axis=1))
    sides = np.clip(sides, augmentation.crop, 1)  # where one would be longer than 1, the other one is the area
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    matrix = (np.where(flipped, -1, 1) * sides)[:, :, np.newaxis] * turn
    centre = (size - 1) / 2
    offset = rng.uniform(-1, 1, (count, 2)) * (1 - sides) / 2 * size
    shift = centre + offset - matrix.sum(axis=2) * centre
    places = np.concatenate([matrix, shift[:, :, np.newaxis]], axis=2).reshape(count, 6)
    strengths = [augmentation.brightness, augmentation.contrast, augmentation.saturation]
    factors = 1 + rng.uniform(-1, 1, (count, 3)) * strengths
    return np.concatenate([places, np.zeros((count, 2)), factors], axis=1).astype(np.float32)


def identity_transforms(count: int) -> np.ndarray:
    """Returns transforms, float32 [count, 11], that leave images as they are."""
    return np.tile(np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1], np.float32), (count, 1))


def apply_transforms(pixels: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Returns images as `random_transforms` describes, float32; both are [n, size, size, 3], in [0, 255].

    One bilinear resampling, which reflects the image at its borders, comes before the colours. Contrast scales the
    differences of an image's values from their mean, saturation those of a pixel's values from its grey level, as in
    torchvision's ColorJitter.
    """
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms[:, :8],
        output_shape=tf.shape(pixels)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    brightness, contrast, saturation = [transforms[:, column, None, None, None] for column in (8, 9, 10)]
    grey = tf.tensordot(moved, tf.constant(GREY), axes=1)[..., None]
    mean = tf.reduce_mean(grey, axis=[1, 2], keepdims=True)
    # mean * brightness + (grey + (moved - grey) * saturation - mean) * contrast, arranged so that it takes few passes
    # over the pixels and factors of 1 change nothing.
    same_in_all_channels = grey * (contrast * (1 - saturation)) + mean * (brightness - contrast)
    return tf.clip_by_value(moved * (saturation * contrast) + same_in_all_channels, 0, 255)


def write_preview(path: str, image: np.ndarray, seed: int, augmentation: params.Augmentation) -> None:
    """Writes nine augmented versions of an image as a .npy file, uint8 [9, size, size, 3]."""
    transforms = random_transforms(np.random.default_rng(seed), 9, len(image), augmentation)
    augmented = apply_transforms(np.repeat(image[np.newaxis], 9, axis=0), transforms)
    with files.replacing(preview=path) as out:
        arrays.save(out.preview, np.clip(np.round(augmented), 0, 255).astype(np.uint8))
