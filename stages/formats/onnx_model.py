"""The model as an ONNX file, which ONNX Runtime runs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime

from stages.model.onnx_graph import Graph, value_info


def convert(network: keras.Model, classes: Sequence[str], temperature: float) -> bytes:
    """Converts a network (network.build) to an ONNX file, with the same bytes each time.

    It maps `images`, uint8 [N, size, size, 3], raw pixels, to `probabilities`, float32 [N, C]; its metadata_props
    describe both.
    """
    size = network.input_shape[1]
    graph = Graph()
    images = graph.add("Cast", "images", to=onnx.TensorProto.FLOAT)
    logits = graph.add_model(network, graph.add("Transpose", images, perm=[0, 3, 1, 2]))
    if len(classes) == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
        logits = graph.add("Mul", logits, graph.constant([0, 1]))
    graph.add("Softmax", logits, output="probabilities", axis=1)
    proto = graph.to_model(
        value_info("images", np.uint8, network.input_shape),
        value_info("probabilities", np.float32, (None, len(classes))),
    )
    properties = {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "image_size": str(size),
        "input_layout": "NHWC",
        "preprocessing": "RGB, EXIF orientation applied, resized to a square without keeping the aspect ratio; "
        "pixels from 0 to 255, which the model scales itself",
        "temperature": f"{temperature:.9g}",
        "calibration": "p ** (1 / temperature), divided by the sum over the classes",
    }
    onnx.helper.set_model_props(proto, properties)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads an ONNX file, to run on one thread, as a function from uint8 [N, size, size, 3] to float32 [N, C]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]
