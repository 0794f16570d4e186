"""LiteRT (TensorFlow Lite) files for phones: made by TensorFlow's converter, run by LiteRT's own interpreter.

All take one image of raw pixels in [0, 255], [1, size, size, 3], to its class probabilities, [1, C].
"""

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


def fix_batch(model, folder):
    """Writes a SavedModel that takes one float32 image at a time, for `float16` and `int8`.

    No shape is then left to work out at run time, which accelerators of phones do not like. The converter would write
    such a folder itself, but pass over a full disk and take another way, to other bytes.

    Args:
        model: what saved_model.load returned.
        folder: a path that does not exist yet.
    """
    size = int(model.image_size)
    signature = [tf.TensorSpec([1, size, size, 3], tf.float32, name="images")]
    predict = tf.function(model.__call__, autograph=False, input_signature=signature).get_concrete_function()
    module = tf.Module()
    module.weights = model.weights
    tf.saved_model.save(module, str(folder), predict)


def float16(folder):
    """Converts what `fix_batch` wrote: weights in float16, images and probabilities in float32. Returns the file, bytes."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def int8(folder, images):
    """Converts what `fix_batch` wrote: everything in whole numbers, images in uint8 and 256 * probabilities as well.

    Args:
        folder: what `fix_batch` wrote.
        images: uint8 [N, size, size, 3], typical ones: the range of values of each layer is taken from them.

    Returns:
        bytes, the file.
    """
    images = images.astype(np.float32)
    images[0, 0, 0, :2] = 0, 255  # the range of the input is then [0, 255] in any case, and a pixel stands for itself
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


def load(path):
    """Returns what a LiteRT file computes, on one thread: a function from uint8 [1, size, size, 3] to float32 [1, C]."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [given], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = answer["quantization"] if answer["dtype"] == np.uint8 else (1, 0)

    def predict(image):
        interpreter.set_tensor(given["index"], image.astype(given["dtype"]))
        interpreter.invoke()
        return (interpreter.get_tensor(answer["index"]).astype(np.float32) - zero) * np.float32(scale)

    return predict
