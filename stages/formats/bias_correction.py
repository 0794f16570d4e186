"""Sequential bias correction of an int8 LiteRT file (M. Nagel et al., ICCV 2019, section 4.2, with means from images).

Rounding a layer's weights shifts the mean of each of its output channels, and the shifts of successive layers add up.
"""

import copy
from collections import Counter

import numpy as np
from ai_edge_litert.schema_py_generated import (
    ActivationFunctionType,
    BufferT,
    BuiltinOperator,
    ModelT,
    OperatorT,
    SubGraphT,
)
from ai_edge_litert.tools import flatbuffer_utils

from stages.formats import litert

LINEAR = (BuiltinOperator.CONV_2D, BuiltinOperator.FULLY_CONNECTED)


def correct(int8: bytes, means: list[np.ndarray], images: np.ndarray) -> bytes:
    """Returns the int8 file with other biases: on `images`, its layers have these mean outputs.

    `means` are those of the float32 model, float64 [channels], layer by layer in the order of `linear_outputs`. Both
    models take one image of raw pixels. Typical images, uint8 [N, size, size, 3], suffice. Convolutions without
    activation and the head are corrected, from the first to the last: what the mean of a channel lacks is added to its
    bias. Nothing else in the file changes, nor do biases that several layers share.
    """
    content = bytearray(int8)
    model = flatbuffer_utils.read_model_from_bytearray(content)  # its arrays are views of `content`
    [graph] = model.subgraphs
    uses = Counter(tensor.buffer for tensor in graph.tensors)  # equal arrays, such as biases of 0, are stored once
    expected = dict(zip(linear_outputs(model), means, strict=True))
    values = {graph.inputs[0]: images[:, np.newaxis]}
    for place, operator in enumerate(graph.operators):
        [output] = operator.outputs
        values[output] = _run(model, operator, values)
        if output in expected and operator.inputs[2] != -1 and uses[graph.tensors[operator.inputs[2]].buffer] == 1:
            bias, quantization = graph.tensors[operator.inputs[2]], graph.tensors[output].quantization
            actual = (mean(values[output]) - quantization.zeroPoint[0]) * quantization.scale[0]
            steps = np.rint((expected[output] - actual) / np.array(bias.quantization.scale))
            integers = model.buffers[bias.buffer].data.view(np.int32)
            integers += steps.astype(np.int32)
            values[output] = _run(model, operator, values)
        needed = {index for following in graph.operators[place + 1 :] for index in following.inputs}
        values = {index: value for index, value in values.items() if index in needed}
    return bytes(content)


def linear_outputs(model: ModelT) -> list[int]:
    """Returns the numbers of the tensors that convolutions without activation and fully connected layers write."""
    found = []
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if flatbuffer_utils.get_builtin_code_from_operator_code(code) in LINEAR:
            if operator.builtinOptions.fusedActivationFunction == ActivationFunctionType.NONE:
                found += operator.outputs
    return found


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each channel, float64 [channels], of an array [..., channels]."""
    return values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)


def _run(model: ModelT, operator: OperatorT, values: dict[int, np.ndarray]) -> np.ndarray:
    """Returns the output of one operator, [N, ...], from values of tensors, [N, ...], by their numbers."""
    [graph], alone, subgraph = model.subgraphs, copy.copy(operator), SubGraphT()
    places = {index: place for place, index in enumerate(sorted({*operator.inputs, *operator.outputs} - {-1}))}
    places_of = {**places, -1: -1}  # the number of an input that is left out
    alone.opcodeIndex = 0
    alone.inputs, alone.outputs = ([places_of[index] for index in x] for x in (operator.inputs, operator.outputs))
    subgraph.tensors = [copy.copy(graph.tensors[index]) for index in places]
    subgraph.inputs = [places[index] for index in operator.inputs if index in values]
    subgraph.outputs, subgraph.operators = alone.outputs, [alone]
    part = ModelT(model.version, [model.operatorCodes[operator.opcodeIndex]], [subgraph])
    part.buffers = [BufferT(), *(model.buffers[tensor.buffer] for tensor in subgraph.tensors)]  # the first is empty
    for place, tensor in enumerate(subgraph.tensors):
        tensor.buffer = place + 1
    predict = litert.to_function(part)
    inputs = zip(*(values[index] for index in operator.inputs if index in values), strict=True)
    return np.stack([predict(*of_image)[0] for of_image in inputs])
