import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator
from ai_edge_litert.tools import flatbuffer_utils

from stages.formats import litert, quantization
from stages.model import network, saved_model
from tests.support import amplify

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


@pytest.fixture(params=[["cat", "dog"], ["cat", "cow", "dog"]], ids=len)
def saved(request, shallow, tmp_path):
    """The path of a SavedModel."""
    keras.utils.set_random_seed(0)
    model = network.build(32, len(request.param))
    amplify(model)
    saved_model.save(model, request.param, 1, tmp_path / "model")
    return str(tmp_path / "model")


def summary(content):
    """Operators with their versions, the types and shapes of all tensors without constants' order, and metadata."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    [graph] = model.subgraphs
    names = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
    codes = [(names[x.builtinCode], x.version) for x in model.operatorCodes]
    tensors = sorted((tensor.type, tuple(tensor.shape)) for tensor in graph.tensors)
    metadata = {x.name: bytes(model.buffers[x.buffer].data) for x in model.metadata if x.name != b"CONVERSION_METADATA"}
    return sorted(codes), sorted(codes[x.opcodeIndex][0] for x in graph.operators), tensors, metadata


def run(content, path):
    path.write_bytes(content)
    predict = litert.load(path)
    return np.concatenate([predict(image[np.newaxis]) for image in IMAGES])


def test_float16_is_what_tensorflows_converter_makes_to_the_bit(saved, tmp_path):
    ours = litert.float16(litert.convert(saved))
    model, single = saved_model.load(saved), tf.TensorSpec([1, 32, 32, 3], tf.float32, name="images")
    function = tf.function(model.__call__, autograph=False, input_signature=[single]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    theirs = converter.convert()
    assert summary(ours) == summary(theirs)
    np.testing.assert_array_equal(*(run(content, tmp_path / "model.tflite") for content in (ours, theirs)))
    assert len(ours) < 1.02 * len(theirs)


def test_the_shapes_are_known_before_run_time(saved):
    interpreter = Interpreter(model_content=litert.convert(saved))
    assert all((tensor["shape_signature"] > 0).all() for tensor in interpreter.get_tensor_details())
    assert [x["shape"].tolist() for x in interpreter.get_input_details()] == [[1, 32, 32, 3]]


def test_int8_computes_in_integers_alone(saved):
    interpreter = Interpreter(model_content=quantization.quantize(litert.convert(saved), IMAGES))
    assert {tensor["dtype"] for tensor in interpreter.get_tensor_details()} == {np.uint8, np.int8, np.int32}


def test_int8_has_the_ranges_of_all_values_on_the_images(saved):
    """Each step of 255 reaches from the lowest value of an activation to the highest, with 0 among them."""
    float32 = litert.convert(saved)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    [graph] = model.subgraphs
    outputs = [operator.outputs[0] for operator in graph.operators[:-1]]  # softmax has a range of its own
    names, graph.outputs, images = [graph.tensors[index].name for index in outputs], outputs, IMAGES.copy()
    images[0, 0, 0, :2] = 0, 255
    values = zip(*(litert.to_function(model)(image[np.newaxis].astype(np.float32)) for image in images), strict=True)
    expected = {name: np.array(x) for name, x in zip(names, values, strict=True)}
    int8 = flatbuffer_utils.read_model_from_bytearray(bytearray(quantization.quantize(float32, IMAGES)))
    found = {tensor.name: tensor.quantization for tensor in int8.subgraphs[0].tensors}
    for name, x in expected.items():
        span = max(x.max(), 0) - min(x.min(), 0)
        assert found[name].scale[0] == pytest.approx(span / 255, rel=1e-4), name
