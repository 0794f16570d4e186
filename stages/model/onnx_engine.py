"""Layers without training on ONNX Runtime, which is faster than TensorFlow on CPUs (docs/benchmarks.md)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import joblib
import keras
import numpy as np
import onnxruntime
import tensorflow as tf

from stages.model.onnx_graph import Graph, value_info


def suits(model: keras.Model) -> bool:
    """Returns whether ONNX Runtime is to compute a model: without a GPU, and with all of its layers in float32."""
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    return dtypes == {"float32"} and not tf.config.list_physical_devices("GPU")


def to_function(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a Keras model, with the weights that it has now, as a function of float32 [n, ...] to float32 [n, ...].

    Every image is computed on its own by one thread, as many at a time as there are cores. So its output depends on
    neither the other images nor the number of cores.
    """
    graph = Graph()
    images = len(model.input_shape) == 4, len(model.output_shape) == 4
    inputs = graph.add("Transpose", "inputs", perm=[0, 3, 1, 2] if images[0] else [0, 1])
    outputs = graph.add_model(model, inputs)
    graph.add("Transpose", outputs, output="outputs", perm=[0, 2, 3, 1] if images[1] else [0, 1])
    types = [value_info("inputs", np.float32, model.input_shape), value_info("outputs", np.float32, model.output_shape)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = graph.to_model(types[0], types[1:]).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def compute(inputs: np.ndarray) -> np.ndarray:
        with ThreadPoolExecutor(joblib.cpu_count()) as pool:
            images = np.split(inputs, len(inputs))
            return np.concatenate(list(pool.map(lambda image: session.run(None, {"inputs": image})[0], images)))

    return compute
