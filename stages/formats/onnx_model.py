"""The model as an ONNX file, which ONNX Runtime runs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime

from stages.model import novelty
from stages.model.onnx_graph import Graph, value_info


def convert(network: keras.Model, classes: Sequence[str], temperature: float, pca: novelty.PCA) -> bytes:
    """Converts a network (network.build) to an ONNX file, with the same bytes each time.

    It maps `images`, uint8 [N, size, size, 3], raw pixels, to `probabilities`, float32 [N, C], and `novelty`, float32
    [N]; its metadata_props describe them.
    """
    size = network.input_shape[1]
    graph = Graph()
    images = graph.add("Cast", "images", to=onnx.TensorProto.FLOAT)
    channels_first = graph.add("Transpose", images, perm=[0, 3, 1, 2])
    features, logits = graph.add_model(
        keras.Model(network.inputs, [network.layers[-1].input, network.output]), channels_first
    )
    if len(classes) == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
        logits = graph.add("Concat", graph.add("Sub", logits, logits), logits, axis=1)  # OpenCV 5.0 fails at z * (0, 1)
    graph.add("Softmax", logits, output="probabilities", axis=1)
    graph.add("Div", graph.add_residuals(features, pca), graph.constant(pca.threshold), output="novelty")
    outputs = [
        value_info("probabilities", np.float32, (None, len(classes))),  # first, for programs that read one output
        value_info("novelty", np.float32, (None,)),
    ]
    proto = graph.to_model(value_info("images", np.uint8, network.input_shape), outputs)
    properties = {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "image_size": str(size),
        "input_layout": "NHWC",
        "preprocessing": "RGB, EXIF orientation applied, resized to a square without keeping the aspect ratio; "
        "pixels from 0 to 255, which the model scales itself",
        "temperature": f"{temperature:.9g}",
        "calibration": "p ** (1 / temperature), divided by the sum over the classes",
        "novelty": "above 1, the image is unlike the training images: do not trust its class",
    }
    onnx.helper.set_model_props(proto, properties)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def load(path: Path) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Loads an ONNX file, to run on one thread, as a function of images, uint8 [N, size, size, 3].

    It returns the probabilities, float32 [N, C], and the novelty, float32 [N].
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(["probabilities", "novelty"], {"images": images}))
