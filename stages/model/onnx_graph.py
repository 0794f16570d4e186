"""Keras models of this project's layers as ONNX graphs, written with onnx.helper."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper

from stages.model import novelty

OPSET, IR_VERSION = 18, 10  # known to OpenCV 5, OpenVINO and ONNX Runtime's build for browsers


class Graph:
    """An ONNX graph in the making. Its images are [N, channels, height, width], as ONNX's operators take them."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output or name], name, **attributes))
        return output or name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Adds an array and returns its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add_model(self, model: keras.Model, value: str) -> Any:
        """Adds the layers of a Keras model, whose input is a value, and returns the name of its output, or a list.

        Raises:
            TypeError: a layer is none of those that this project uses.
        """
        return model._run_through_graph(value, lambda layer: lambda inputs, **_: self._add_layer(layer, inputs))

    def _add_layer(self, layer: keras.Layer, value: Any) -> str:
        match layer:
            case keras.Model():
                return self.add_model(layer, value)
            case keras.layers.Rescaling():
                scaled = self.add("Mul", value, self.constant(layer.scale))
                return self.add("Add", scaled, self.constant(layer.offset))
            case keras.layers.DepthwiseConv2D():
                kernel = np.transpose(layer.kernel, (2, 3, 0, 1))
                return self._add_convolution(layer, value, kernel, groups=len(kernel))
            case keras.layers.Conv2D():
                kernel = np.transpose(layer.kernel, (3, 2, 0, 1))
                return self._add_convolution(layer, value, kernel, groups=1)
            case keras.layers.Identity():
                return value
            case keras.layers.ReLU():
                return self.add("Clip", value, self.constant(0), self.constant(layer.max_value))
            case keras.layers.Add():
                return self.add("Add", *value)
            case keras.layers.GlobalAveragePooling2D():
                return self.add("Flatten", self.add("GlobalAveragePool", value))
            case keras.layers.Dense():
                return self.add("Gemm", value, self.constant(layer.kernel), self.constant(layer.bias))
        raise TypeError(f"{type(layer).__name__} is no layer of this project's networks")

    def _add_convolution(self, layer: Any, value: str, kernel: np.ndarray, groups: int) -> str:
        [size, _], [stride, _] = layer.kernel_size, layer.strides
        missing = max(0, (layer.output.shape[1] - 1) * stride + size - layer.input.shape[1])  # pixels
        return self.add(
            "Conv",
            value,
            self.constant(kernel),
            self.constant(layer.bias),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[missing // 2] * 2 + [missing - missing // 2] * 2,  # TensorFlow, too, puts the odd one behind
            group=groups,
        )

    def add_residuals(self, features: str, pca: novelty.PCA) -> str:
        """Adds what novelty.residuals computes and returns the name of its output."""
        squared_length = self._add_squared_length(features, keepdims=1)
        length = self.add("Sqrt", self.add("Max", squared_length, self.constant(novelty.SMALLEST)))
        centred = self.add("Sub", self.add("Div", features, length), self.constant(pca.mean))
        projected = self.add("MatMul", centred, self.constant(np.transpose(pca.components)))
        explained = self._add_squared_length(projected, keepdims=0)
        rest = self.add("Sub", self._add_squared_length(centred, keepdims=0), explained)
        return self.add("Sqrt", self.add("Relu", rest))

    def _add_squared_length(self, vectors: str, keepdims: int) -> str:
        squares = self.add("Mul", vectors, vectors)
        return self.add("ReduceSum", squares, self.constant([1], np.int64), keepdims=keepdims)

    def to_model(self, inputs: onnx.ValueInfoProto, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Returns the model with one input and several outputs, which are values of the graph."""
        graph = helper.make_graph(self._nodes, "classifier", [inputs], outputs, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="")


def value_info(name: str, dtype: Any, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    """Returns the type of an input or an output; its first dimension is any number, N."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", *shape[1:]])
