"""Sequential bias correction of an int8 LiteRT file (M. Nagel et al., ICCV 2019, section 4.2, with means from images).

Rounding a layer's weights shifts the mean of each of its output channels, and the shifts of successive layers add up.
"""

import copy
from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BufferT, BuiltinOperator, ModelT, TensorT
from ai_edge_litert.tools import flatbuffer_utils

LINEAR = (BuiltinOperator.CONV_2D, BuiltinOperator.FULLY_CONNECTED)


def correct(int8: bytes, float32: bytes, images: np.ndarray) -> bytes:
    """Returns the int8 file with other biases: on `images`, its layers have the mean outputs of the float32 file.

    Both files are conversions of one model; each takes one image of raw pixels. Typical images, uint8
    [N, size, size, 3], suffice. Convolutions without activation and the head are corrected, from the first to the last:
    what the mean of a channel lacks is added to its bias. Nothing else in the file changes, nor do biases that several
    layers share.
    """
    content = bytearray(int8)
    model = flatbuffer_utils.read_model_from_bytearray(content)  # its arrays are views of `content`
    [graph] = model.subgraphs
    uses = Counter(tensor.buffer for tensor in graph.tensors)  # equal arrays, such as biases of 0, are stored once
    expected = dict(zip(_linear_outputs(model), _linear_means(float32, images), strict=True))
    values = {graph.inputs[0]: images[:, np.newaxis]}
    for place, operator in enumerate(graph.operators):
        [output] = operator.outputs
        values[output] = _run(model, operator, values)
        if output in expected and uses[graph.tensors[operator.inputs[2]].buffer] == 1:
            bias, quantization = graph.tensors[operator.inputs[2]], graph.tensors[output].quantization
            mean = (_mean(values[output]) - quantization.zeroPoint[0]) * quantization.scale[0]
            steps = np.rint((expected[output] - mean) / np.array(bias.quantization.scale))
            integers = model.buffers[bias.buffer].data.view(np.int32)
            integers += steps.astype(np.int32)
            values[output] = _run(model, operator, values)
        needed = {index for following in graph.operators[place + 1 :] for index in following.inputs}
        values = {index: value for index, value in values.items() if index in needed}
    return bytes(content)


def _linear_outputs(model: ModelT) -> list[int]:
    """Returns the numbers of the tensors that convolutions without activation and fully connected layers write."""
    found = []
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if flatbuffer_utils.get_builtin_code_from_operator_code(code) in LINEAR:
            if operator.builtinOptions.fusedActivationFunction == ActivationFunctionType.NONE:
                found += operator.outputs
    return found


def _linear_means(float32: bytes, images: np.ndarray) -> list[np.ndarray]:
    """Returns the mean of each channel, float64 [channels], of the tensors of `_linear_outputs`."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    model.subgraphs[0].outputs = _linear_outputs(model)
    predict = _load(model)
    means = [[_mean(output) for output in predict(image[np.newaxis].astype(np.float32))] for image in images]
    return [np.mean(of_tensor, axis=0) for of_tensor in zip(*means, strict=True)]


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each channel, float64 [channels], of an array [..., channels]."""
    return values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)


def _run(model: ModelT, operator: Any, values: dict[int, np.ndarray]) -> np.ndarray:
    """Returns the output of one operator, [N, ...], from values of tensors, [N, ...], by their numbers."""
    [graph], used = model.subgraphs, {*operator.inputs, *operator.outputs}
    part, subgraph = copy.copy(model), copy.copy(graph)
    subgraph.tensors = [tensor if index in used else TensorT() for index, tensor in enumerate(graph.tensors)]
    buffers = {tensor.buffer for tensor in subgraph.tensors}
    part.buffers = [buffer if index in buffers else BufferT() for index, buffer in enumerate(model.buffers)]
    subgraph.inputs = [index for index in operator.inputs if index in values]
    subgraph.operators, subgraph.outputs = [operator], operator.outputs
    part.subgraphs, part.metadata = [subgraph], None
    predict = _load(part)
    return np.stack([predict(*inputs)[0] for inputs in zip(*(values[x] for x in subgraph.inputs), strict=True)])


def _load(model: ModelT) -> Any:
    """Returns a model, run on one thread, as a function from its inputs to the list of its outputs."""
    model.signatureDefs = None  # they name inputs and outputs that are others here
    interpreter = Interpreter(model_content=bytes(flatbuffer_utils.convert_object_to_bytearray(model)), num_threads=1)
    interpreter.allocate_tensors()
    details, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(*inputs: np.ndarray) -> list[np.ndarray]:
        for tensor, value in zip(details, inputs, strict=True):
            interpreter.set_tensor(tensor["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(tensor["index"]) for tensor in outputs]

    return predict
