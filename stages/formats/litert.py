"""LiteRT (TensorFlow Lite) files for phones: TensorFlow's converter makes them, LiteRT's own interpreter runs them.

Each maps one image, [1, size, size, 3], raw pixels in [0, 255], to its class probabilities, [1, C], and its novelty,
[1]: above 1, the image is unlike the training images.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import (
    BufferT,
    BuiltinOperator,
    MetadataT,
    ModelT,
    OperatorCodeT,
    OperatorT,
    TensorType,
)
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.lite.python.convert import convert_saved_model

OUTPUTS = [b"probabilities", b"novelty"]  # in their order: programs that read one output read the first
DEQUANTIZE_SINCE = b"1.15.0"  # first version of TensorFlow whose DEQUANTIZE takes float16


def convert(saved_model: str) -> bytes:
    """Converts the signature serving_default of a SavedModel, in float32, for `float16` and quantization.quantize."""
    # What TFLiteConverter calls after it has loaded the SavedModel twice, which takes twice as long as this.
    converted = convert_saved_model(
        saved_model_dir=saved_model,
        saved_model_version=1,  # that of the importer of signatures
        saved_model_tags={"serve"},
        saved_model_exported_names=["serving_default"],
    )
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converted))
    [graph], [signature] = model.subgraphs, model.signatureDefs
    for tensor in graph.tensors:
        tensor.shapeSignature = None  # the batch is 1: accelerators of phones need all shapes before run time
    signature.outputs.sort(key=lambda output: OUTPUTS.index(output.name))  # TensorFlow sorts them by name
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    for output in signature.outputs:
        graph.tensors[output.tensorIndex].name = output.name
    return write(model)


def float16(float32: bytes) -> bytes:
    """Returns a file of `convert` with its constants in float16. Images, probabilities and sums stay in float32.

    An operator DEQUANTIZE converts each constant when the file is loaded, as in files of TensorFlow's converter.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    [graph] = model.subgraphs
    dequantize = OperatorCodeT(BuiltinOperator.DEQUANTIZE, builtinCode=BuiltinOperator.DEQUANTIZE, version=3)
    model.operatorCodes.append(dequantize)
    operators = []
    for index, tensor in enumerate(list(graph.tensors)):
        buffer = model.buffers[tensor.buffer]
        if tensor.type == TensorType.FLOAT32 and buffer.data is not None:
            half = copy.copy(tensor)
            half.type = TensorType.FLOAT16
            tensor.name, tensor.buffer = tensor.name + b"_dequantize", 0  # the empty buffer
            graph.tensors.append(half)
            operators.append(OperatorT(len(model.operatorCodes) - 1, [len(graph.tensors) - 1], [index]))
    for number in {half.buffer for half in graph.tensors[-len(operators) :]}:  # equal constants share one
        values = np.frombuffer(model.buffers[number].data, np.float32)
        model.buffers[number].data = values.astype(np.float16).view(np.uint8)
    graph.operators = operators + graph.operators
    version = next(entry for entry in model.metadata if entry.name == b"min_runtime_version")
    model.buffers[version.buffer].data = np.frombuffer(DEQUANTIZE_SINCE.ljust(16, b"\0"), np.uint8)
    # Lets a delegate compute in float16, with sums in float32, where the processor can.
    model.metadata.append(MetadataT("reduced_precision_support", len(model.buffers)))
    model.buffers.append(BufferT(data=np.frombuffer(b"fp16accfp32", np.uint8)))
    return write(model)


def write(model: ModelT) -> bytes:
    """Returns the content of a LiteRT file."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def to_function(model: ModelT) -> Callable[..., list[np.ndarray]]:
    """Returns a model, run on one thread, as a function from its inputs to the list of its outputs."""
    model.signatureDefs = None  # they name inputs and outputs that are others here
    interpreter = Interpreter(model_content=write(model), num_threads=1)
    interpreter.allocate_tensors()
    details, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(*inputs: np.ndarray) -> list[np.ndarray]:
        for tensor, value in zip(details, inputs, strict=True):
            interpreter.set_tensor(tensor["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(tensor["index"]) for tensor in outputs]

    return predict


def load(path: Path) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Loads a LiteRT file, to run on one thread, as a function of an image, uint8 [1, size, size, 3].

    It returns the probabilities, float32 [1, C], and the novelty, float32 [1].
    """
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [image_details], outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        interpreter.set_tensor(image_details["index"], image.astype(image_details["dtype"]))
        interpreter.invoke()
        probabilities, novelty = (_to_float(interpreter.get_tensor(x["index"]), *x["quantization"]) for x in outputs)
        return probabilities, novelty

    return predict


def _to_float(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Returns what an output stands for, in float32; the scale of one in float32 is 0."""
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
