"""The network: MobileNetV2 with a new last layer, what of it learns, and the weights that it starts from."""

import itertools
import re
import warnings

from stages.common.cli import UserError
from stages.model.backend import keras, tf


class Normalized:
    """A convolution and the batch normalisation behind it, by the moving mean and variance, which never change, in one.

    The normalisation is folded into the kernel (B. Jacob et al., CVPR 2018, section 3.2), which spares two passes over the
    feature maps, most of the time of a MobileNet. Kernel, gamma and beta get the same gradients as if it was not.
    """

    def fold(self, normalization):
        """Takes over what the layer behind does. To be called once, before the first use."""
        # As they are: what `call` reads from the layers is cast to float16 in mixed precision.
        self.variables_of_both = [variable.value for variable in (*self.weights, *normalization.weights)]
        self.epsilon = normalization.epsilon

    def call(self, inputs):
        kernel, gamma, beta, mean, variance = self.variables_of_both
        scale = gamma / tf.sqrt(variance + self.epsilon)  # both exact: rsqrt's last bits depend on who computes it
        kernel = kernel * tf.reshape(scale, [-1, 1] if self.convolve is tf.nn.depthwise_conv2d else [-1])
        outputs = self.convolve(inputs, tf.cast(kernel, inputs.dtype), [1, *self.strides, 1], self.padding.upper())
        return tf.nn.bias_add(outputs, tf.cast(beta - mean * scale, inputs.dtype))


# The names are Keras's, by which it finds the weights of a layer in a file.
class Conv2D(Normalized, keras.layers.Conv2D):
    convolve = staticmethod(tf.nn.conv2d)


class DepthwiseConv2D(Normalized, keras.layers.DepthwiseConv2D):
    convolve = staticmethod(tf.nn.depthwise_conv2d)


class BatchNormalization(keras.layers.BatchNormalization):
    """Holds the variables of a batch normalisation that the layer in front does.

    Keras 3's own, called with training=False inside a model, would be overridden by `fit` (keras issue 20285).
    """

    def call(self, inputs, training=None, mask=None):
        return inputs


KINDS = {kind.__bases__[-1]: kind for kind in (Conv2D, DepthwiseConv2D, BatchNormalization)}  # by Keras's own


def mobilenet_v2(image_size):
    """Keras's own MobileNetV2 (width 1.0) without its last layers, with random weights: 154 layers."""
    return keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3), include_top=False, weights=None, name="base"
    )


def build(image_size, class_count, mixed_precision="none"):
    """Builds the network without augmentation and dropout, which only training has.

    Args:
        image_size: side of the pictures in pixels.
        class_count: number of classes, C.
        mixed_precision: "float16" or "bfloat16", what MobileNetV2 computes in, its variables being float32; or "none".

    Returns:
        keras.Model from pixels in [0, 255], [N, image_size, image_size, 3], to logits, float32: [N, 1], that of the second
        class, where C is 2, and [N, C] otherwise. Its layer "base" is MobileNetV2.
    """
    keras.config.set_dtype_policy("float32" if mixed_precision == "none" else f"mixed_{mixed_precision}")
    base = mobilenet_v2(image_size)
    keras.config.set_dtype_policy("float32")
    for layer in base.layers:  # in place: a clone would take as long to build again
        layer.__class__ = KINDS.get(type(layer), type(layer))
    for layer, behind in itertools.pairwise(base.layers):
        if isinstance(layer, Normalized):
            layer.fold(behind)
    inputs = keras.Input((image_size, image_size, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)  # to [-1, 1], as in keras.applications.mobilenet_v2
    x = base(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1 if class_count == 2 else class_count, name="logits")(x))


def cut(network):
    """Returns what makes features, float32 [N, 1280], of pictures, as a keras.Model, and the last layer, which takes them."""
    head = network.layers[-1]
    return keras.Model(network.inputs[0], head.input), head


def portable(network):
    """Returns the network as it is served: computing in float32 and with its variables on one device.

    To be called outside of the scope of the strategy that it was trained with.
    """
    spread = isinstance(network.weights[0].value, tf.distribute.DistributedValues)
    if not spread and network.get_layer("base").compute_dtype == "float32":
        return network
    plain = build(network.input_shape[1], max(2, network.output_shape[1]))
    plain.set_weights(network.get_weights())
    return plain


def load_base(network, path):
    """Sets the weights of the layer "base" from a file that `save_weights` of Keras's MobileNetV2 wrote.

    Only arrays are read from the file.

    Raises:
        UserError: the file is missing, is no weights file, or does not fit; the first layer that does not fit is named.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of containers without weights
            network.get_layer("base").load_weights(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. `dvc repro` fetches it if it is one of data/weights/dvc.yaml; "
                        "otherwise set model.weights to a file that exists.") from None
    except OSError as error:
        raise UserError(f"{path} is no whole HDF5 file ({error}). Fetch or save it again.") from None
    except (ValueError, KeyError) as error:
        layer = re.search(r"name=(\w+)", str(error))
        raise UserError(
            f"{path} does not fit Keras's MobileNetV2 without top at width 1.0"
            + (f": its weights for layer {layer[1]} are missing or of another shape" if layer else "")
            + ". Save the weights of such a network with save_weights()."
        ) from None


def train_from(network, layer_index):
    """Lets the layers of the base from `layer_index` on learn, and none below; the last layer always learns.

    Args:
        network: a model that `build` made.
        layer_index: 0 to 154, the number of layers of the base; 154 freezes it whole.

    Returns:
        str: in words, where the network is cut and how much of it learns.
    """
    base = network.get_layer("base")
    base.trainable = True
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= layer_index  # one by one: base.trainable = True does not thaw layers of its own
    learning = sum(weight.numpy().size for weight in network.trainable_weights)
    where = (
        f"training from layer {layer_index}, {base.layers[layer_index].name}"
        if layer_index < len(base.layers)
        else f"training the last layer only, all {len(base.layers)} layers of the base are frozen"
    )
    return f"{where}: {learning:,} of {network.count_params():,} parameters"
