"""MobileNetV2 (M. Sandler et al., CVPR 2018) without its head, batch normalization folded into the convolutions.

The layers, their names, weights and outputs are those of keras.applications.MobileNetV2 at width 1.0.
"""

import keras
import tensorflow as tf

# Expansion, output channels, number of blocks and stride of the first block, stage by stage (Sandler et al., table 2).
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class FoldedConv(keras.layers.Layer):
    """A convolution with the batch normalization behind it folded into its kernel; the moving statistics never change.

    Folding (B. Jacob et al., CVPR 2018, section 3.2) spares two passes over the feature maps, most of the time of a
    MobileNet. Kernel, gamma and beta get the gradients that they would get without folding.
    """

    def fold(self, normalization: keras.layers.Layer) -> None:
        """Takes over the variables of a batch normalization. Both layers are built, and neither has been called."""
        # The raw variables, because Keras casts a layer's attributes to float16 inside `call` in mixed precision.
        self.folded_weights = [variable.value for variable in (*self.weights, *normalization.weights)]
        self.epsilon = normalization.epsilon

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, gamma, beta, mean, variance = self.folded_weights
        scale = gamma / tf.sqrt(variance + self.epsilon)  # not rsqrt, whose last bits depend on the processor
        kernel = kernel * tf.reshape(scale, [-1, 1] if self.convolve is tf.nn.depthwise_conv2d else [-1])
        outputs = self.convolve(inputs, tf.cast(kernel, inputs.dtype), [1, *self.strides, 1], self.padding.upper())
        return tf.nn.bias_add(outputs, tf.cast(beta - mean * scale, inputs.dtype))


# Keras finds the weights of a layer in a file by the name of its class: these names are Keras's own.
class Conv2D(FoldedConv, keras.layers.Conv2D):
    convolve = staticmethod(tf.nn.conv2d)


class DepthwiseConv2D(FoldedConv, keras.layers.DepthwiseConv2D):
    convolve = staticmethod(tf.nn.depthwise_conv2d)


class BatchNormalization(keras.layers.BatchNormalization):
    """The variables of a batch normalization that the FoldedConv in front applies.

    `fit` would override Keras 3's own layer, called with training=False inside a model (keras issue 20285).
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        return inputs


def mobilenet_v2(image_size: int) -> keras.Model:
    """Returns the base with random weights, a model of 154 layers with the name "base".

    It maps images, [N, image_size, image_size, 3] in [-1, 1], to feature maps, [N, size, size, 1280], where size is
    image_size / 32, rounded up. An image has at least 32 x 32 pixels.
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = _normalized(inputs, Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="Conv1"), "bn_Conv1")
    x = keras.layers.ReLU(6.0, name="Conv1_relu")(x)
    number = 0
    for expansion, channels, repeats, stride in BLOCKS:
        for repeat in range(repeats):
            prefix = f"block_{number}" if number else "expanded_conv"
            x = _block(x, expansion, channels, stride if repeat == 0 else 1, prefix)
            number += 1
    x = _normalized(x, Conv2D(1280, 1, use_bias=False, name="Conv_1"), "Conv_1_bn")
    return keras.Model(inputs, keras.layers.ReLU(6.0, name="out_relu")(x), name="base")


def _block(inputs: keras.KerasTensor, expansion: int, channels: int, stride: int, prefix: str) -> keras.KerasTensor:
    """Returns the output of an inverted residual block. One with an expansion of 1 has no expanding convolution."""
    x = inputs
    if expansion > 1:
        expand = Conv2D(expansion * x.shape[-1], 1, padding="same", use_bias=False, name=f"{prefix}_expand")
        x = keras.layers.ReLU(6.0, name=f"{prefix}_expand_relu")(_normalized(x, expand, f"{prefix}_expand_BN"))
    if stride == 2:
        before = x.shape[1] % 2  # one pixel in front only if the side is odd: the network was trained so
        x = keras.layers.ZeroPadding2D(((before, 1), (before, 1)), name=f"{prefix}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    depthwise = DepthwiseConv2D(3, strides=stride, use_bias=False, padding=padding, name=f"{prefix}_depthwise")
    x = keras.layers.ReLU(6.0, name=f"{prefix}_depthwise_relu")(_normalized(x, depthwise, f"{prefix}_depthwise_BN"))
    project = Conv2D(channels, 1, padding="same", use_bias=False, name=f"{prefix}_project")
    x = _normalized(x, project, f"{prefix}_project_BN")
    return keras.layers.Add(name=f"{prefix}_add")([inputs, x]) if x.shape == inputs.shape else x


def _normalized(x: keras.KerasTensor, convolution: FoldedConv, name: str) -> keras.KerasTensor:
    """Returns the output of a convolution with a batch normalization of this name folded into it."""
    normalization = BatchNormalization(epsilon=1e-3, momentum=0.999, name=name)
    convolution.build(x.shape)
    normalization.build(convolution.compute_output_shape(x.shape))
    convolution.fold(normalization)
    return normalization(convolution(x))
