"""LiteRT (TensorFlow Lite) files for phones: TensorFlow's converter makes them, LiteRT's own interpreter runs them.

Each maps one image, [1, size, size, 3], raw pixels in [0, 255], to its class probabilities, [1, C].
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from stages.common import dataset
from stages.common.arrays import Labels
from stages.formats import bias_correction

# Maximum number of training images that calibrate int8 and correct its biases; 25 to 200 give the same accuracy.
CALIBRATION_IMAGES = 50


def fix_batch(model: Any, folder: Path) -> None:
    """Writes a SavedModel that takes one float32 image at a time, for `float16` and `int8`, into a new folder.

    Accelerators of phones need all shapes before run time. The converter would write such a folder itself, but ignore a
    full disk and convert in another way, to other bytes.
    """
    size = int(model.image_size)
    signature = [tf.TensorSpec([1, size, size, 3], tf.float32, name="images")]
    predict = tf.function(model.__call__, autograph=False, input_signature=signature).get_concrete_function()
    module = tf.Module()
    module.weights = model.weights
    tf.saved_model.save(module, str(folder), predict)


def float16(folder: Path) -> bytes:
    """Converts the SavedModel of `fix_batch`: weights in float16, images and probabilities in float32."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def calibration_rows(labels: Labels) -> np.ndarray:
    """Returns at most CALIBRATION_IMAGES row numbers: equally many of each class, evenly spaced within the class.

    With more classes than that, one image of each of evenly spaced classes.
    """
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    per_class = max(1, CALIBRATION_IMAGES // len(rows))
    rows = [dataset.evenly_spaced(of_class, per_class) for of_class in rows]
    return dataset.evenly_spaced(np.concatenate(rows), CALIBRATION_IMAGES)


def int8(folder: Path, images: np.ndarray) -> bytes:
    """Converts the SavedModel of `fix_batch` to integers: images and probabilities (times 256) in uint8.

    Typical images, uint8 [N, size, size, 3], calibrate each layer's range of values and correct its biases.
    """
    float32 = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    images = images.copy()
    images[0, 0, 0, :2] = 0, 255  # the range of the input is then [0, 255], so that a quantized pixel is the pixel
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images.astype(np.float32))
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bias_correction.correct(converter.convert(), float32, images)


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a LiteRT file, to run on one thread, as a function from uint8 [1, size, size, 3] to float32 [1, C]."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [input_details], [output_details] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = output_details["quantization"] if output_details["dtype"] == np.uint8 else (1, 0)

    def predict(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(input_details["index"], image.astype(input_details["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(output_details["index"])
        return (output.astype(np.float32) - zero_point) * np.float32(scale)

    return predict
