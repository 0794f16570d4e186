"""The network: MobileNetV2 with a new last layer, what of it learns, and the weights that it starts from."""

import re
import warnings

from stages.common.command import UserError
from stages.common.tensorflow import keras


class InferenceBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by the moving mean and variance, which never change; gamma and beta can learn.

    `base(x, training=False)` inside a model does not do this in Keras 3: `fit` overrides it (keras issue 20285).
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


def mobilenet_v2(image_size):
    """Keras's own MobileNetV2 (width 1.0) without its last layers, with random weights: 154 layers."""
    return keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3), include_top=False, weights=None, name="base"
    )


def build(image_size, class_count, dropout):
    """Builds the network without augmentation.

    Args:
        image_size: side of the pictures in pixels.
        class_count: number of classes, C.
        dropout: fraction of the pooled features dropped in training.

    Returns:
        keras.Model from pixels in [0, 255], [N, image_size, image_size, 3], to logits: [N, 1], that of the second
        class, where C is 2, and [N, C] otherwise. Its layer "base" is MobileNetV2.
    """
    base = keras.models.clone_model(mobilenet_v2(image_size), clone_function=_clone)
    inputs = keras.Input((image_size, image_size, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)  # to [-1, 1], as in keras.applications.mobilenet_v2
    x = base(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, keras.layers.Dense(1 if class_count == 2 else class_count, name="logits")(x))


def _clone(layer):
    kind = type(layer)
    if kind is keras.layers.BatchNormalization:
        kind = InferenceBatchNormalization
    return kind.from_config(layer.get_config())


def load_base(network, path):
    """Sets the weights of the layer "base" from a file that `save_weights` of Keras's MobileNetV2 wrote.

    Only arrays are read from the file.

    Raises:
        UserError: the file is missing, is no weights file, or does not fit; the first layer that does not fit is named.
    """
    plain = mobilenet_v2(network.input_shape[1])  # Keras names layers in the file by their type: ours is another
    try:
        with warnings.catch_warnings(action="ignore"):  # of containers without weights
            plain.load_weights(path)
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
    network.get_layer("base").set_weights(plain.get_weights())


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


def augmentation(image_size, flip, rotation):
    """The layers that alter training pictures at random; they pass pictures on unchanged outside training.

    Args:
        image_size: side of the pictures in pixels.
        flip: none, horizontal, vertical or horizontal_and_vertical.
        rotation: by up to this fraction of a full turn, either way. What turns into view is a reflection.

    Returns:
        keras.Sequential, [N, size, size, 3] to float32 of the same shape.
    """
    layers = [] if flip == "none" else [keras.layers.RandomFlip(flip)]
    layers.append(keras.layers.RandomRotation(rotation))
    return keras.Sequential([keras.Input((image_size, image_size, 3)), *layers], name="augmentation")
