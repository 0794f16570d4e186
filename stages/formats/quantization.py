"""int8 of a float32 LiteRT file: ranges measured on images, TensorFlow's quantizer, and a correction of the biases."""

import numpy as np
import tensorflow as tf
from ai_edge_litert.schema_py_generated import QuantizationParametersT
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.lite.python.convert import mlir_quantize

from stages.common import dataset
from stages.common.arrays import Labels
from stages.formats import bias_correction, float_tail, litert

# Maximum number of training images that calibrate int8 and correct its biases; 25 to 200 give the same accuracy.
CALIBRATION_IMAGES = 50


def calibration_rows(labels: Labels) -> np.ndarray:
    """Returns at most CALIBRATION_IMAGES row numbers: equally many of each class, evenly spaced within the class.

    With more classes than that, one image of each of evenly spaced classes.
    """
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    per_class = max(1, CALIBRATION_IMAGES // len(rows))
    rows = [dataset.evenly_spaced(of_class, per_class) for of_class in rows]
    return dataset.evenly_spaced(np.concatenate(rows), CALIBRATION_IMAGES)


def quantize(float32: bytes, images: np.ndarray) -> bytes:
    """Converts a file of litert.convert to integers, all but the novelty, which stays in float32 (float_tail).

    Images, probabilities (times 256) and novelty (times 127.5) are uint8. Typical images, uint8 [N, size, size, 3],
    calibrate each layer's range of values and correct its biases.
    TensorFlow's own calibrator would read some sums in the place of their terms, which share memory with them.
    """
    images = images.copy()
    images[0, 0, 0, :2] = 0, 255  # the range of the input is then [0, 255], so that a quantized pixel is the pixel
    original = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    model, tail = float_tail.split(original)
    [graph] = model.subgraphs
    outputs = graph.outputs
    graph.outputs = measured = [*graph.inputs, *(output for operator in graph.operators for output in operator.outputs)]
    predict = litert.to_function(model)
    ranges, means = [], []
    for image in images:
        values = predict(image[np.newaxis].astype(np.float32))
        ranges.append([(value.min(), value.max()) for value in values])
        means.append([bias_correction.mean(value) for value in values])
    graph.outputs = outputs
    lowest, highest = np.min(ranges, axis=0)[:, 0], np.max(ranges, axis=0)[:, 1]
    for index, low, high in zip(measured, lowest.tolist(), highest.tolist(), strict=True):
        graph.tensors[index].quantization = QuantizationParametersT(min=[low], max=[high])
    int8 = mlir_quantize(litert.write(model), input_data_type=tf.uint8, output_data_type=tf.uint8)
    expected = {index: np.mean(of_tensor, axis=0) for index, *of_tensor in zip(measured, *means, strict=True)}
    linear = bias_correction.linear_outputs(model)
    corrected = bias_correction.correct(int8, [expected[index] for index in linear], images)
    return float_tail.append(corrected, original, tail)
