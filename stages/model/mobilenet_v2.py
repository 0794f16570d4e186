"""MobileNetV2 (M. Sandler et al., CVPR 2018) without its head, batch normalization folded into the convolutions.

The layers, their names and outputs are those of keras.applications.MobileNetV2 at width 1.0. Instead of batch
normalizations, whose moving statistics would never change, the convolutions have biases.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras.layers import Identity

# Expansion, output channels, number of blocks and stride of the first block, stage by stage (Sandler et al., table 2).
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
EPSILON = 1e-3  # added to the variances of Keras's MobileNetV2


class Conv2D(keras.layers.Conv2D):
    """Keras's own adds a bias in a way that TensorFlow does not compute together with the convolution.

    In training, one of 1 x 1 pixels is a product of matrices, whose gradient takes TensorFlow a third of the time.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if training and self.kernel_size == (1, 1):
            outputs = tf.tensordot(inputs, self.kernel[0, 0], axes=1)
        else:
            outputs = tf.nn.conv2d(inputs, self.kernel, self.strides, self.padding.upper())
        return tf.nn.bias_add(outputs, self.bias)


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """As Conv2D."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.nn.depthwise_conv2d(inputs, self.kernel, [1, *self.strides, 1], self.padding.upper())
        return tf.nn.bias_add(outputs, self.bias)


def mobilenet_v2(image_size: int) -> keras.Model:
    """Returns the base with random weights, a model of 154 layers with the name "base".

    It maps images, [N, image_size, image_size, 3] in [-1, 1], to feature maps, [N, size, size, 1280], where size is
    image_size / 32, rounded up. An image has at least 32 x 32 pixels.
    """
    inputs = keras.Input((image_size, image_size, 3))
    convolution = Conv2D(32, 3, strides=2, padding="same", name="Conv1")
    x = keras.layers.ReLU(6.0, name="Conv1_relu")(_normalized(inputs, convolution, "bn_Conv1"))
    number = 0
    for expansion, channels, repeats, stride in BLOCKS:
        for repeat in range(repeats):
            prefix = f"block_{number}" if number else "expanded_conv"
            x = _block(x, expansion, channels, stride if repeat == 0 else 1, prefix)
            number += 1
    x = _normalized(x, Conv2D(1280, 1, name="Conv_1"), "Conv_1_bn")
    return keras.Model(inputs, keras.layers.ReLU(6.0, name="out_relu")(x), name="base")


def _block(inputs: keras.KerasTensor, expansion: int, channels: int, stride: int, prefix: str) -> keras.KerasTensor:
    """Returns the output of an inverted residual block. One with an expansion of 1 has no expanding convolution."""
    x = inputs
    if expansion > 1:
        expand = Conv2D(expansion * x.shape[-1], 1, name=f"{prefix}_expand")
        x = keras.layers.ReLU(6.0, name=f"{prefix}_expand_relu")(_normalized(x, expand, f"{prefix}_expand_BN"))
    if stride == 2:
        x = Identity(name=f"{prefix}_pad")(x)  # Keras pads here what the convolution would pad by itself
    depthwise = DepthwiseConv2D(3, stride, "same", name=f"{prefix}_depthwise")
    x = keras.layers.ReLU(6.0, name=f"{prefix}_depthwise_relu")(_normalized(x, depthwise, f"{prefix}_depthwise_BN"))
    x = _normalized(x, Conv2D(channels, 1, name=f"{prefix}_project"), f"{prefix}_project_BN")
    return keras.layers.Add(name=f"{prefix}_add")([inputs, x]) if x.shape == inputs.shape else x


def _normalized(x: keras.KerasTensor, convolution: keras.layers.Layer, name: str) -> keras.KerasTensor:
    """Returns the output of a convolution, behind which a layer takes the place of the batch normalization."""
    return Identity(name=name)(convolution(x))


def fold(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Folds batch normalizations into the convolutions in front (B. Jacob et al., CVPR 2018, section 3.2).

    Turns kernel, gamma, beta, mean and variance of each convolution into kernel and bias, float64.
    """
    folded = []
    for kernel, gamma, beta, mean, variance in zip(*[iter(weights)] * 5, strict=True):
        scale = gamma / np.sqrt(variance.astype(np.float64) + EPSILON)
        channels = -2 if kernel.shape[-1] == 1 else -1  # a depthwise kernel is [3, 3, C, 1]
        folded += [np.moveaxis(np.moveaxis(kernel, channels, -1) * scale, -1, channels), beta - mean * scale]
    return folded


def unfold(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Reverses `fold`, up to batch normalizations: these have a scale of 1 and the bias as their shift."""
    unfolded = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        zeros, ones = np.zeros_like(bias), np.ones_like(bias)
        unfolded += [kernel, ones, bias, zeros, ones - EPSILON]
    return unfolded
