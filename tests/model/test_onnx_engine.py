import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.model import network, onnx_engine
from tests.support import amplify

IMAGES = np.random.default_rng(0).uniform(0, 255, (5, 75, 75, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def parts():
    """The frozen and the trained part of a network."""
    keras.utils.set_random_seed(0)
    model = network.build(75, 2)
    amplify(model)
    return network.split_at(model, 120)


def test_both_parts_of_a_network_have_the_outputs_of_tensorflow(parts):
    inputs = IMAGES
    for part in parts:
        expected, outputs = part(inputs).numpy(), onnx_engine.to_function(part)(inputs)
        assert outputs.dtype == np.float32 and outputs.shape == expected.shape and np.ptp(expected) > 0.1
        np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
        inputs = expected


@pytest.mark.parametrize("cores", [1, 3])
def test_the_output_for_an_image_depends_on_neither_the_cores_nor_other_images(parts, cores, monkeypatch):
    compute = onnx_engine.to_function(parts[0])
    alone = np.concatenate([compute(image[np.newaxis]) for image in IMAGES])
    monkeypatch.setattr(onnx_engine.joblib, "cpu_count", lambda: cores)
    assert np.array_equal(compute(IMAGES[::-1].copy()), alone[::-1])


def test_a_gpu_and_other_precisions_are_left_to_tensorflow(parts, monkeypatch):
    assert onnx_engine.suits(parts[0])
    for precision in ("float16", "bfloat16"):
        for part in network.split_at(network.build(32, 2, precision), 120):
            assert not onnx_engine.suits(part)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    assert not onnx_engine.suits(parts[0])


def test_a_layer_that_the_project_does_not_use_is_named():
    images = keras.Input((32, 32, 3))
    with pytest.raises(TypeError, match="MaxPooling2D is no layer"):
        onnx_engine.to_function(keras.Model(images, keras.layers.MaxPooling2D()(images)))
