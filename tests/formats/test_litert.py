import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils

from stages.formats import float_tail, litert, quantization
from stages.model import network, saved_model
from tests.support import amplify, principal_components

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


@pytest.fixture(params=[["cat", "dog"], ["cat", "cow", "dog"]], ids=len)
def saved(request, shallow, tmp_path):
    """The path of a SavedModel whose novelty is fitted on IMAGES."""
    keras.utils.set_random_seed(0)
    model = network.build(32, len(request.param))
    amplify(model)
    saved_model.save(model, request.param, 1, tmp_path / "saved")
    values = principal_components(network.feature_extractor(model)(IMAGES.astype(np.float32)).numpy(), 2)
    saved_model.copy(str(tmp_path / "saved"), tmp_path / "model", values)
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
    """The two outputs for IMAGES, with an axis of length 1."""
    path.write_bytes(content)
    predict = litert.load(path)
    return [np.stack(output) for output in zip(*(predict(image[np.newaxis]) for image in IMAGES), strict=True)]


def test_float16_is_what_tensorflows_converter_makes_to_the_bit(saved, tmp_path):
    ours = litert.float16(litert.convert(saved))
    model, single = saved_model.load(saved), tf.TensorSpec([1, 32, 32, 3], tf.float32, name="images")
    function = tf.function(model.__call__, autograph=False, input_signature=[single]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    theirs = converter.convert()
    assert summary(ours) == summary(theirs)
    probabilities, novelty = run(ours, tmp_path / "model.tflite")
    of_theirs = run(theirs, tmp_path / "model.tflite")  # sorted by name
    np.testing.assert_array_equal(novelty, of_theirs[0])
    np.testing.assert_array_equal(probabilities, of_theirs[1])
    assert len(ours) < 1.02 * len(theirs)


def test_the_shapes_are_known_before_run_time(saved):
    interpreter = Interpreter(model_content=litert.convert(saved))
    assert all((tensor["shape_signature"] > 0).all() for tensor in interpreter.get_tensor_details())
    assert [x["shape"].tolist() for x in interpreter.get_input_details()] == [[1, 32, 32, 3]]


def test_int8_computes_the_probabilities_in_integers_alone(saved):
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(quantization.quantize(litert.convert(saved), IMAGES)))
    [graph] = model.subgraphs
    types, needed = set(), {graph.outputs[0]}
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            types |= {graph.tensors[index].type for index in [*operator.inputs, *operator.outputs]}
    assert types == {TensorType.UINT8, TensorType.INT8, TensorType.INT32}


def test_int8_has_the_novelty_of_the_savedmodel(saved, tmp_path):
    content = quantization.quantize(litert.convert(saved), IMAGES)
    expected = saved_model.load(saved)(IMAGES)["novelty"].numpy()
    assert np.ptp(expected) > 0.1
    _, novelty = run(content, tmp_path / "model.tflite")
    np.testing.assert_allclose(novelty[:, 0], np.minimum(expected, 2), atol=0.1)
    assert quantization.quantize(litert.convert(saved), IMAGES) == content


def test_the_novelty_of_a_model_for_which_none_is_fitted_is_0(saved, tmp_path):
    unfitted = str(tmp_path / "saved")
    float32 = litert.convert(unfitted)
    for content in (litert.float16(float32), quantization.quantize(float32, IMAGES)):
        probabilities, novelty = run(content, tmp_path / "model.tflite")
        assert np.array_equal(novelty, np.zeros((4, 1)))
        np.testing.assert_allclose(probabilities[:, 0], saved_model.load(unfitted)(IMAGES)["probabilities"], atol=0.1)


def test_int8_has_the_ranges_of_all_values_on_the_images(saved):
    """Each step of 255 reaches from the lowest value of an activation to the highest, with 0 among them."""
    float32 = litert.convert(saved)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    model, _ = float_tail.split(model)
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
