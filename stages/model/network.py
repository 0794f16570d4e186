"""The network: MobileNetV2 with a new head, its parts, trainable layers and initial weights."""

import math
from itertools import pairwise

import keras
import tensorflow as tf

from stages.model import weights_file
from stages.model.mobilenet_v2 import fold, mobilenet_v2


def build(image_size: int, class_count: int, mixed_precision: str = "none") -> keras.Model:
    """Returns the network, from pixels in [0, 255] to logits (arrays.Logits). Its layer "base" is MobileNetV2.

    It has neither augmentation nor dropout, which belong to training. `mixed_precision` is the dtype of MobileNetV2's
    computations, "float16" or "bfloat16", or "none"; variables are float32.
    """
    keras.config.set_dtype_policy("float32" if mixed_precision == "none" else f"mixed_{mixed_precision}")
    base = mobilenet_v2(image_size)
    keras.config.set_dtype_policy("float32")
    inputs = keras.Input((image_size, image_size, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)  # to [-1, 1], as in keras.applications.mobilenet_v2
    x = base(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1 if class_count == 2 else class_count, name="logits")(x))


def feature_extractor(network: keras.Model) -> keras.Model:
    """Returns the network without its head, from pixels to features (arrays.Features)."""
    return keras.Model(network.inputs[0], network.layers[-1].input)


def split_at(network: keras.Model, layer_index: int) -> tuple[keras.Model, keras.Model]:
    """Splits the feature extractor into a frozen part, from pixels to activations, and a trained part, to features.

    The frozen part ends behind the last complete block of MobileNetV2 below `layer_index`, because the tensors between
    blocks are small ("linear bottlenecks", M. Sandler et al., CVPR 2018). If its activations are still larger than the
    pixels, it is the identity; the trained part is the identity if no layer of the base is trained.
    """
    images, features = network.inputs[0], network.layers[-1].input
    base = network.get_layer("base")
    if layer_index >= len(base.layers):
        unchanged = keras.Input(features.shape[1:])
        return feature_extractor(network), keras.Model(unchanged, unchanged)
    ends = [
        layer.output
        for layer, following in pairwise(base.layers[: layer_index + 1])
        if layer.name.endswith("_add") or layer.name.endswith("_project_BN") and not following.name.endswith("_add")
    ]
    if not ends or math.prod(ends[-1].shape[1:]) * 2 >= math.prod(images.shape[1:]):  # bytes: float16 against uint8
        return keras.Model(images, images), feature_extractor(network)
    rescaling, pooling = network.layers[1], network.layers[3]
    activations = keras.Input(ends[-1].shape[1:], dtype=ends[-1].dtype)
    return (
        keras.Model(images, keras.Model(base.inputs, ends[-1])(rescaling(images))),
        keras.Model(activations, pooling(keras.Model(ends[-1], base.output)(activations))),
    )


def to_serving(network: keras.Model) -> keras.Model:
    """Returns the network for serving, which computes in float32 and has its variables on one device.

    Call it outside of the scope of the strategy that the network was trained with.
    """
    distributed = isinstance(network.weights[0].value, tf.distribute.DistributedValues)
    if not distributed and network.get_layer("base").compute_dtype == "float32":
        return network
    plain = build(network.input_shape[1], max(2, network.output_shape[1]))
    plain.set_weights(network.get_weights())
    return plain


def load_base(network: keras.Model, path: str) -> None:
    """Loads the weights of the base from a file of Keras's MobileNetV2 without top (weights_file.read)."""
    base = network.get_layer("base")
    folded = fold(weights_file.read(path, base))
    names = [f"the {kind} of {layer.name}" for layer in base.layers if layer.weights for kind in ("kernel", "bias")]
    for name, array in zip(names, folded, strict=True):
        weights_file.check_numbers(array, f"{name} with its batch normalization folded in", path)
    base.set_weights(folded)


def freeze_below(network: keras.Model, layer_index: int) -> str:
    """Freezes the layers of the base below `layer_index` and unfreezes the others; the head is always trainable.

    An index of 154 freezes the whole base. Returns the first layer that is trained and the number of trainable
    parameters, in words.
    """
    base = network.get_layer("base")
    base.trainable = True
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= layer_index  # base.trainable = True does not unfreeze a layer that is frozen itself
    if layer_index < len(base.layers):
        where = f"from layer {layer_index}, {base.layers[layer_index].name}"
    else:
        where = f"the head only, all {len(base.layers)} layers of the base are frozen"
    trainable = sum(weight.numpy().size for weight in network.trainable_weights)
    return f"training {where}: {trainable:,} of {network.count_params():,} parameters"
