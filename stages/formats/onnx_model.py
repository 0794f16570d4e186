"""The model as an ONNX file: tf2onnx makes it, ONNX Runtime runs it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

OPSET = 18  # the newest that tf2onnx 1.17 writes


def convert(model: Any, classes: Sequence[str]) -> bytes:
    """Converts a model of saved_model.load to an ONNX file, with the same bytes each time.

    It maps `images`, uint8 [N, size, size, 3], raw pixels, to `probabilities`, float32 [N, C]; its metadata_props
    describe both.
    """
    size = int(model.image_size)
    signature = [tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")]
    proto, _ = tf2onnx.convert.from_function(tf.function(model.__call__, autograph=False), signature, opset=OPSET)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    properties = {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "image_size": str(size),
        "input_layout": "NHWC",
        "preprocessing": "RGB, EXIF orientation applied, resized to a square without keeping the aspect ratio; "
        "pixels from 0 to 255, which the model scales itself",
        "temperature": f"{float(model.temperature):.9g}",
        "calibration": "p ** (1 / temperature), divided by the sum over the classes",
    }
    onnx.helper.set_model_props(proto, properties)
    make_reproducible(proto.graph)
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


def make_reproducible(graph: onnx.GraphProto) -> None:
    """Gives a graph of tf2onnx the same names and order in every process, so that its bytes are the same.

    - tf2onnx names nodes and values by a running number of the process. Here their numbers follow their first use; the
      names of input and output stay.
    - tf2onnx sorts constants by the order of a Python set, which differs between processes. Here first use sorts them.
    - `doc_string`, which holds a running number of the process, is removed.
    """
    new_names = {name: name for name in ("", "images", "probabilities")}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                new_names.setdefault(name, f"value_{len(new_names)}")
                names[index] = new_names[name]
    first_use = list(new_names)
    graph.initializer.sort(key=lambda constant: first_use.index(constant.name))
    for constant in graph.initializer:
        constant.name = new_names[constant.name]
    graph.ClearField("doc_string")


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads an ONNX file, to run on one thread, as a function from uint8 [N, size, size, 3] to float32 [N, C]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]
