"""The model as a list of layers and their weights, which the script of plots/try.html computes in a browser."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

RELU = 6  # maximum of the activations of MobileNetV2


class Layers:
    """The layers of a Keras model in the making.

    Attributes:
        layers: a dict for each layer, in the order of computation: `op`, its operation; `inputs`, the numbers of its
            inputs, 0 for the images and n for the output of the nth layer; and attributes of the operation.
        weights: arrays of the layers, in their order: kernel and bias of each convolution.
    """

    def __init__(self, model: keras.Model) -> None:
        self.layers: list[dict[str, Any]] = []
        self.weights: list[np.ndarray] = []
        self._add_model(model, 0)

    def _add_model(self, model: keras.Model, value: int) -> int:
        return model._run_through_graph(value, lambda layer: lambda inputs, **_: self._add_layer(layer, inputs))

    def _add_layer(self, layer: keras.Layer, value: Any) -> int:
        match layer:
            case keras.Model():
                return self._add_model(layer, value)
            case keras.layers.Rescaling():
                return self._add("rescale", [value], scale=float(layer.scale), offset=float(layer.offset))
            case keras.layers.DepthwiseConv2D() | keras.layers.Conv2D():  # the first is no case of the second
                op = "depthwiseConv2d" if isinstance(layer, keras.layers.DepthwiseConv2D) else "conv2d"
                self.weights += [layer.kernel.numpy(), layer.bias.numpy()]
                return self._add(op, [value], strides=layer.strides[0], kernel=list(layer.kernel.shape), relu6=False)
            case keras.layers.Identity():
                return value
            case keras.layers.ReLU() if layer.max_value == RELU and self.layers[value - 1].get("relu6") is False:
                self.layers[value - 1]["relu6"] = True  # nothing else takes what the convolution gives
                return value
            case keras.layers.Add():
                return self._add("add", list(value))
        raise TypeError(f"{type(layer).__name__} is no layer of this project's networks")

    def _add(self, op: str, inputs: list[int], **attributes: Any) -> int:
        self.layers.append({"op": op, "inputs": inputs, **attributes})
        return len(self.layers)


def convert(network: keras.Model, further: Sequence[np.ndarray]) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Returns the layers of a network (network.build) up to its feature maps, all kernels, and all biases.

    The kernels, float16 [W], are those of the layers and of the head and the arrays of `further`, one after the other;
    the biases, float32 [B], those of the layers and of the head. As float16, they would double the differences of
    probabilities.
    """
    pooling, head = network.layers[-2:]
    found = Layers(keras.Model(network.inputs[0], pooling.input))
    arrays = [*found.weights, head.kernel.numpy(), head.bias.numpy()]
    return found.layers, _joined([*arrays[::2], *further], "<f2"), _joined(arrays[1::2], "<f4")


def _joined(arrays: Sequence[np.ndarray], dtype: str) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(dtype)
