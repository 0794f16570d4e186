"""The model as a Keras model of standard layers, which can be saved as a .keras file."""

from typing import Any

import keras
import numpy as np

from stages.model import novelty
from stages.model.mobilenet_v2 import unfold


def build(model: Any) -> keras.Model:
    """Returns a loaded SavedModel as a Keras model with a frozen base.

    It maps pixels in [0, 255] to {"probabilities": [N, C], "novelty": [N]}, as the SavedModel does.
    """
    size, class_count = int(model.image_size), model.class_names.shape[0]
    *base_weights, kernel, bias = (weight.numpy() for weight in model.weights)
    if class_count == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
        kernel, bias = (np.concatenate([np.zeros_like(array), array], axis=-1) for array in (kernel, bias))
    base = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)
    base.set_weights(unfold(base_weights))
    base.trainable = False
    inputs = keras.Input((size, size, 3), name="images")
    x = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    features = keras.layers.GlobalAveragePooling2D(name="features")(x)
    head = keras.layers.Dense(class_count, "softmax", name="probabilities")
    mean, components = model.novelty_mean.numpy(), model.novelty_components.numpy()
    project = keras.layers.Dense(len(components), use_bias=False, trainable=False, name="components")
    residuals = novelty.residuals(features, mean, project)
    outputs = {"probabilities": head(features), "novelty": residuals / float(model.novelty_threshold)}
    head.set_weights([kernel, bias])
    project.set_weights([components.T])
    return keras.Model(inputs, outputs)
