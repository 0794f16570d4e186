"""The part of an int8 LiteRT file that computes in float32: the novelty, from the pooled features on.

The novelty is a small difference of two sums, which int8 arithmetic would ruin. This part is what the probabilities do
not need.
"""

import copy

import numpy as np
from ai_edge_litert.schema_py_generated import (
    BufferT,
    BuiltinOperator,
    ModelT,
    OperatorCodeT,
    OperatorT,
    QuantizationParametersT,
    TensorMapT,
    TensorT,
    TensorType,
)
from ai_edge_litert.tools import flatbuffer_utils

from stages.formats import litert

# Scale of the novelty in uint8, which ends at 2: a number above 1 is at least 128, whatever the rounding.
NOVELTY_STEP = 2 / 255


def split(model: ModelT) -> tuple[ModelT, list[OperatorT]]:
    """Returns a model of litert.convert with its first output alone, and the operators that only the second needs.

    The first has no signature.
    """
    [graph] = model.subgraphs
    needed, kept, tail = {graph.outputs[0]}, [], []
    for operator in reversed(graph.operators):
        if needed.isdisjoint(operator.outputs):
            tail.append(operator)
        else:
            kept.append(operator)
            needed.update(operator.inputs)
    first, subgraph = copy.copy(model), copy.copy(graph)
    first.subgraphs, first.signatureDefs = [subgraph], None
    subgraph.operators, subgraph.outputs = kept[::-1], graph.outputs[:1]
    return first, tail[::-1]


def append(int8: bytes, float32: ModelT, tail: list[OperatorT]) -> bytes:
    """Adds operators that `split` took from the model `float32`, and the second output, in uint8, to its int8 file."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(int8))
    [graph], [original] = model.subgraphs, float32.subgraphs
    computed = {output for operator in tail for output in operator.outputs}
    places = {-1: -1}  # numbers of the tensors in both files; -1 is an input that is left out
    for operator in tail:
        for index in sorted({*operator.inputs, *operator.outputs} - places.keys()):
            tensor = copy.copy(original.tensors[index])
            values = float32.buffers[tensor.buffer].data
            tensor.buffer = 0  # the empty buffer
            if index not in computed and values is None:
                [features] = [place for place, other in enumerate(graph.tensors) if other.name == tensor.name]
                places[index] = _add_dequantized(model, features, tensor)
            else:
                places[index] = _add_tensor(model, tensor) if values is None else _add_constant(model, tensor, values)
        code = float32.operatorCodes[operator.opcodeIndex]
        added = _add_operator(model, code.builtinCode, code.version, operator.inputs, operator.outputs)
        added.inputs, added.outputs = ([places[index] for index in x] for x in (operator.inputs, operator.outputs))
        added.builtinOptionsType, added.builtinOptions = operator.builtinOptionsType, operator.builtinOptions
    last = places[original.outputs[1]]
    novelty = copy.copy(graph.tensors[last])
    graph.tensors[last].name += b"_float32"
    # By way of int8, because TensorFlow Lite Micro has no QUANTIZE from float32 to uint8.
    for suffix, dtype, zero_point in ((b"_int8", TensorType.INT8, -128), (b"", TensorType.UINT8, 0)):
        quantized = copy.copy(novelty)
        quantized.name, quantized.type = novelty.name + suffix, dtype
        quantized.quantization = QuantizationParametersT(scale=[NOVELTY_STEP], zeroPoint=[zero_point])
        source, last = last, _add_tensor(model, quantized)
        _add_operator(model, BuiltinOperator.QUANTIZE, 1, [source], [last])
    graph.outputs = [*graph.outputs, last]
    signature = copy.copy(float32.signatureDefs[0])
    for part, numbers in {"inputs": graph.inputs, "outputs": graph.outputs}.items():
        entries = zip(getattr(signature, part), numbers, strict=True)
        setattr(signature, part, [TensorMapT(entry.name, number) for entry, number in entries])
    model.signatureDefs = [signature]
    return litert.write(model)


def _add_dequantized(model: ModelT, source: int, tensor: TensorT) -> int:
    """Adds a tensor in float32 of the values that tensor `source` has in int8, and returns its number."""
    tensor.name += b"_dequantize"
    place = _add_tensor(model, tensor)
    _add_operator(model, BuiltinOperator.DEQUANTIZE, 2, [source], [place])
    return place


def _add_constant(model: ModelT, tensor: TensorT, values: np.ndarray) -> int:
    """Adds a constant tensor with its values, as bytes, and returns its number.

    A matrix is stored in int8, in a quarter of the bytes: the errors of rounding 64 x 1280 numbers average out.
    """
    if len(tensor.shape) < 2:
        tensor.buffer = _add_buffer(model, values)
        return _add_tensor(model, tensor)
    numbers = values.view(np.float32)
    step = float(np.abs(numbers).max() / 127) or 1.0
    stored = copy.copy(tensor)
    stored.type, stored.quantization = TensorType.INT8, QuantizationParametersT(scale=[step], zeroPoint=[0])
    stored.buffer = _add_buffer(model, np.rint(numbers / step).astype(np.int8).view(np.uint8))
    return _add_dequantized(model, _add_tensor(model, stored), tensor)


def _add_buffer(model: ModelT, data: np.ndarray) -> int:
    model.buffers.append(BufferT(data=data))
    return len(model.buffers) - 1


def _add_tensor(model: ModelT, tensor: TensorT) -> int:
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _add_operator(model: ModelT, code: int, version: int, inputs: list[int], outputs: list[int]) -> OperatorT:
    known = [(other.builtinCode, other.version) for other in model.operatorCodes]
    if (code, version) not in known:
        known.append((code, version))
        model.operatorCodes.append(OperatorCodeT(min(code, 127), version=version, builtinCode=code))  # 127: see there
    operator = OperatorT(known.index((code, version)), inputs, outputs)
    model.subgraphs[0].operators.append(operator)
    return operator
