"""The model as an ONNX file: made by tf2onnx, run by ONNX Runtime."""

import json

import onnx
import onnxruntime
import tf2onnx

from stages.common.tensorflow import tf

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
    proto, _ = tf2onnx.convert.from_function(tf.function(model.__call__), signature, opset=OPSET)
    order_constants(proto.graph)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(proto, {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "image_size": str(size),
        "input_layout": "NHWC",
        "preprocessing": "none: RGB, upright, squeezed to the size, pixels from 0 to 255; the model scales them",
        "temperature": f"{float(model.temperature):.9g}",
        "calibration": "p ** (1 / temperature), divided by the sum over the classes",
    })
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


def order_constants(graph):
    """Names and sorts the constants of an ONNX graph by where they are first used.

    tf2onnx does so by the order of a set of strings, which is another one in each process.
    """
    constants = {constant.name for constant in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in constants)
    names = {name: f"constant_{number}" for number, name in enumerate(used)}
    graph.initializer.sort(key=lambda constant: list(names).index(constant.name))
    for constant in graph.initializer:
        constant.name = names[constant.name]
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)


def load(path):
    """Returns a function from pictures, uint8 [N, size, size, 3], to float32 [N, C], which an ONNX file computes on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(["probabilities"], {"images": pictures})[0]
