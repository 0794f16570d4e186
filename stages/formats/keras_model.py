"""The model as a Keras model of standard layers, which can be saved as a .keras file."""

from typing import Any

import keras
import numpy as np

from stages.model.mobilenet_v2 import unfold


def build(model: Any) -> keras.Model:
    """Returns a loaded SavedModel as a Keras model from pixels in [0, 255] to probabilities, with a frozen base."""
    size, class_count = int(model.image_size), model.class_names.shape[0]
    *base_weights, kernel, bias = (weight.numpy() for weight in model.weights)
    if class_count == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
        kernel, bias = (np.concatenate([np.zeros_like(array), array], axis=-1) for array in (kernel, bias))
    base = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)
    base.set_weights(unfold(base_weights))
    base.trainable = False
    inputs = keras.Input((size, size, 3), name="images")
    x = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(class_count, "softmax", name="probabilities")
    network = keras.Model(inputs, head(x))
    head.set_weights([kernel, bias])
    return network
