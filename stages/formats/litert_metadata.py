"""Labels and preprocessing inside a .tflite file, where Android's tools and MediaPipe look for them.

The format is TensorFlow Lite's metadata, schema version 1.0.0: a FlatBuffer in the model's buffer "TFLITE_METADATA", and
the files that it names appended to the model as a ZIP archive. The numbers of fields below are their places in
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs. The libraries that
could write it do not install beside ours (tflite-support 0.4.4) or do not import (MediaPipe 1.2.3).
"""

import io
import zipfile

import flatbuffers
import numpy as np
from ai_edge_litert.schema_py_generated import BufferT, MetadataT
from ai_edge_litert.tools import flatbuffer_utils

LABELS = "labels.txt"

RGB, TENSOR_AXIS_LABELS = np.uint8(1), np.uint8(2)  # of the schema's enumerations
FEATURE_PROPERTIES, IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = np.uint8(1), np.uint8(2), np.uint8(1)  # of its unions


def add(model, labels, image_size, temperature):
    """Returns a model with metadata, bytes.

    Args:
        model: bytes, a .tflite file from images of raw pixels in [0, 255] to class probabilities.
        labels: str, the class names in the order of the probabilities, one a line.
        image_size: side of the images in pixels.
        temperature: float, what calibrates the probabilities.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_add(builder, _metadata(image_size, temperature)), b"M001")
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    tree.metadata.append(MetadataT(name="TFLITE_METADATA", buffer=len(tree.buffers)))
    tree.buffers.append(BufferT(data=np.frombuffer(builder.Output(), np.uint8)))
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(tree))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), labels)  # whose date is 1980, not today
    return file.getvalue()


def _metadata(image_size, temperature):
    """The table ModelMetadata, for `_add`: {number of the field: value}."""
    image = {
        0: "image",
        1: f"RGB image, upright, squeezed to {image_size} x {image_size} pixels, as they are: the model scales them",
        3: {0: IMAGE_PROPERTIES, 1: {0: RGB, 1: {0: np.uint32(image_size), 1: np.uint32(image_size)}}},  # content
        4: [{0: NORMALIZATION_OPTIONS, 1: {0: np.float32([0]), 1: np.float32([1])}}],  # process_units: mean, std
        5: {0: np.float32([255]), 1: np.float32([0])},  # stats: max, min
    }
    probabilities = {
        0: "probability",
        1: f"of each class; to calibrate p, take p ** (1 / {temperature:.4f}) and divide by the sum",
        3: {0: FEATURE_PROPERTIES, 1: {}},
        5: {0: np.float32([1]), 1: np.float32([0])},
        6: [{0: LABELS, 1: "the classes", 2: TENSOR_AXIS_LABELS}],  # associated_files
    }
    return {
        0: "classifier",
        1: "MobileNetV2, retrained to classify images",
        3: [{2: [image], 3: [probabilities]}],  # subgraph_metadata: inputs, outputs
        7: "1.0.0",  # min_parser_version
    }


def _add(builder, value):
    """Adds a table, vector or string to a FlatBuffer and returns its place."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, list):
        places = [_add(builder, item) for item in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    fields = {field: item if isinstance(item, np.generic) else _add(builder, item) for field, item in value.items()}
    builder.StartObject(max(fields, default=-1) + 1)
    for field, item in fields.items():
        if isinstance(item, np.uint8):
            builder.PrependUint8Slot(field, item, 0)
        elif isinstance(item, np.uint32):
            builder.PrependUint32Slot(field, item, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, item, 0)
    return builder.EndObject()
