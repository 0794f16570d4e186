"""The model as an ONNX file: made by tf2onnx, run by ONNX Runtime."""

import json

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

OPSET = 18  # the newest that tf2onnx 1.17 writes


def convert(model, classes):
    """Converts a SavedModel, with the same bytes each time.

    Args:
        model: what saved_model.load returned.
        classes: list of str, C class names.

    Returns:
        bytes, a file from `images`, uint8 [N, size, size, 3], raw pixels, to `probabilities`, float32 [N, C]. Its
        metadata_props say what comes in and out.
    """
    size = int(model.image_size)
    signature = [tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")]
    proto, _ = tf2onnx.convert.from_function(tf.function(model.__call__, autograph=False), signature, opset=OPSET)
    name_in_order(proto.graph)
    proto.graph.ClearField("doc_string")  # a running number of this process
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(
        proto,
        {
            "class_names": json.dumps(classes, ensure_ascii=False),
            "image_size": str(size),
            "input_layout": "NHWC",
            "preprocessing": "none: RGB, upright, squeezed to the size, pixels from 0 to 255; the model scales them",
            "temperature": f"{float(model.temperature):.9g}",
            "calibration": "p ** (1 / temperature), divided by the sum over the classes",
        },
    )
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


def name_in_order(graph):
    """Names all nodes and values of an ONNX graph, and sorts its constants, by where they are first used.

    tf2onnx names and sorts them by a running number and by the order of a set, which is another one in each process.
    """
    names = {name: name for name in ("", "images", "probabilities")}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = names.setdefault(name, f"value_{len(names)}")
    order = list(names)
    graph.initializer.sort(key=lambda constant: order.index(constant.name))
    for constant in graph.initializer:
        constant.name = names[constant.name]


def load(path):
    """Returns what an ONNX file computes, on one thread: a function from uint8 [N, size, size, 3] to float32 [N, C]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]
