from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import TensorType
from ai_edge_litert.tools import flatbuffer_utils

from stages.formats import bias_correction, litert, quantization
from stages.model import novelty

SIZE, WIDTH = 8, 16


class Classifier(tf.Module):
    """Two bottlenecks and a head. In each channel one weight is so large that int8 rounds the others coarsely."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.image_size = tf.Variable(SIZE)
        shapes = [(3, 3, 3, WIDTH), (1, 1, WIDTH, WIDTH), (1, 1, WIDTH, WIDTH), (1, 1, WIDTH, WIDTH), (WIDTH, 3)]
        kernels = [rng.normal(0.03, 0.1, shape).astype(np.float32) for shape in shapes]
        for kernel in kernels:
            columns = kernel.reshape(-1, kernel.shape[-1])
            columns[np.arange(columns.shape[1]) % len(columns), np.arange(columns.shape[1])] = 12
        self.weights = [tf.Variable(kernel) for kernel in kernels]

    def __call__(self, images):
        first, project, expand, project_again, head = self.weights
        x = tf.nn.relu6(tf.nn.conv2d(images / 127.5 - 1, first, 2, "SAME") + 1.0)
        x = tf.nn.conv2d(x, project, 1, "SAME") - 2.0
        y = tf.nn.relu6(tf.nn.conv2d(x, expand, 1, "SAME") / 20 + 1.0)
        x += tf.nn.conv2d(y, project_again, 1, "SAME") + np.arange(WIDTH, dtype=np.float32)
        features = tf.reduce_mean(x, [1, 2])
        logits = (tf.matmul(features, head) + [0.1, 0.2, 0.3]) / 50
        residuals = novelty.residuals(features, np.full(WIDTH, 0.1, np.float32), lambda y: tf.matmul(y, project[0, 0]))
        return {"probabilities": tf.nn.softmax(logits), "novelty": residuals}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The int8 file before its correction, the float32 file, the images, and the int8 file after it; no novelty."""
    folder, model = tmp_path_factory.mktemp("converted") / "model", Classifier()
    image = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="images")
    tf.saved_model.save(model, str(folder), tf.function(model.__call__, input_signature=[image]))
    float32 = litert.convert(str(folder))
    images = np.random.default_rng(1).integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
    with mock.patch.object(bias_correction, "correct", wraps=bias_correction.correct) as correct:
        quantization.quantize(float32, images)
    before, _, seen = correct.call_args.args
    return before, float32, seen, bias_correction.correct(*correct.call_args.args)


def mean_probabilities(content, images):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [image_details], [output, *_] = interpreter.get_input_details(), interpreter.get_output_details()
    probabilities = []
    for image in images:
        interpreter.set_tensor(image_details["index"], image[np.newaxis].astype(image_details["dtype"]))
        interpreter.invoke()
        probabilities.append(interpreter.get_tensor(output["index"])[0] * (output["quantization"][0] or 1))
    return np.mean(probabilities, axis=0)


def test_the_mean_outputs_are_those_of_the_float32_file(converted):
    before, float32, images, after = converted
    expected, shifted, corrected = (mean_probabilities(x, images) for x in (float32, before, after))
    assert np.abs(shifted - expected).max() > 0.02  # or there is nothing to correct
    assert np.abs(corrected - expected).max() < 0.2 * np.abs(shifted - expected).max()


def test_images_that_were_not_seen_are_nearer_to_float32_too(converted):
    before, float32, _, after = converted
    images = np.random.default_rng(2).integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
    expected, shifted, corrected = (mean_probabilities(x, images) for x in (float32, before, after))
    assert np.abs(corrected - expected).max() < 0.5 * np.abs(shifted - expected).max()


def test_only_biases_of_layers_without_activation_change(converted):
    before, _, _, after = converted
    content = bytearray(after)
    old, new = (flatbuffer_utils.read_model_from_bytearray(x) for x in (bytearray(before), content))
    changed = []
    for tensor in new.subgraphs[0].tensors:
        data, original = new.buffers[tensor.buffer].data, old.buffers[tensor.buffer].data
        if data is not None and not np.array_equal(data, original):
            changed.append((tensor.type, tensor.shape))
            data[:] = original  # in `content`
    assert sorted(changed) == [(TensorType.INT32, [3]), (TensorType.INT32, [WIDTH]), (TensorType.INT32, [WIDTH])]
    assert content == before


def test_the_same_bytes_each_time(converted):
    _, float32, images, _ = converted
    assert quantization.quantize(float32, images) == quantization.quantize(float32, images)


def test_a_bias_that_two_layers_share_stays(converted):
    before, float32, images, after = converted
    model, corrected = (flatbuffer_utils.read_model_from_bytearray(bytearray(x)) for x in (before, after))
    project, again = [
        tensor
        for tensor in model.subgraphs[0].tensors
        if tensor.type == TensorType.INT32
        and not np.array_equal(model.buffers[tensor.buffer].data, corrected.buffers[tensor.buffer].data)
        and tensor.shape == [WIDTH]
    ]
    again.buffer = project.buffer
    shared = flatbuffer_utils.convert_object_to_bytearray(model)
    with mock.patch.object(quantization, "mlir_quantize", return_value=bytes(shared)):
        corrected = quantization.quantize(float32, images)
    result = flatbuffer_utils.read_model_from_bytearray(bytearray(corrected))
    np.testing.assert_array_equal(result.buffers[project.buffer].data, model.buffers[project.buffer].data)
