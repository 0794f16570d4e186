"""TensorFlow Lite metadata: labels and preprocessing inside a .tflite file, for Android's tools and MediaPipe.

Schema version 1.0.0: a FlatBuffer in the model's buffer "TFLITE_METADATA"; the files that it names are appended to the
model as a ZIP archive. The numbers of fields below are their positions in
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs. The libraries that
could write it do not install beside ours (tflite-support 0.4.4) or do not import (MediaPipe 1.2.3).
"""

import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert.schema_py_generated import BufferT, MetadataT
from ai_edge_litert.tools import flatbuffer_utils

LABELS = "labels.txt"
RGB, TENSOR_AXIS_LABELS = np.uint8(1), np.uint8(2)  # numbers in enumerations of the schema
FEATURE_PROPERTIES, IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = np.uint8(1), np.uint8(2), np.uint8(1)  # in its unions


def add(model: bytes, labels: str, image_size: int, temperature: float) -> bytes:
    """Returns a .tflite file, from images of raw pixels in [0, 255] to probabilities and novelty, with metadata.

    `labels` are lines of class names; `temperature` calibrates the probabilities (temperature scaling).
    """
    builder = flatbuffers.Builder()
    builder.Finish(_add(builder, _metadata(image_size, temperature)), b"M001")  # the schema's file_identifier
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    tree.metadata.append(MetadataT(name="TFLITE_METADATA", buffer=len(tree.buffers)))
    tree.buffers.append(BufferT(data=np.frombuffer(builder.Output(), np.uint8)))
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(tree))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), labels)  # ZipInfo's date is 1980, so the bytes are always the same
    return file.getvalue()


def _metadata(image_size: int, temperature: float) -> dict[int, Any]:
    """Returns the table ModelMetadata for `_add`, values by the numbers of their fields."""
    image = {
        0: "image",
        1: f"RGB image, EXIF orientation applied, resized to {image_size} x {image_size} pixels without keeping the "
        "aspect ratio; pixels from 0 to 255, which the model scales itself",
        3: {0: IMAGE_PROPERTIES, 1: {0: RGB, 1: {0: np.uint32(image_size), 1: np.uint32(image_size)}}},  # content
        4: [{0: NORMALIZATION_OPTIONS, 1: {0: _floats(0), 1: _floats(1)}}],  # process_units: mean, std
        5: {0: _floats(255), 1: _floats(0)},  # stats: max, min
    }
    probabilities = {
        0: "probability",
        1: f"of each class; calibrated: p ** (1 / {temperature:.4f}), divided by the sum over the classes",
        3: {0: FEATURE_PROPERTIES, 1: {}},
        5: {0: _floats(1), 1: _floats(0)},
        6: [{0: LABELS, 1: "the classes", 2: TENSOR_AXIS_LABELS}],  # associated_files
    }
    novelty = {
        0: "novelty",
        1: "above 1, the image is unlike the training images: do not trust its class",
        3: {0: FEATURE_PROPERTIES, 1: {}},
        5: {0: _floats(2), 1: _floats(0)},
    }
    return {
        0: "classifier",
        1: "MobileNetV2, fine-tuned to classify images",
        3: [{2: [image], 3: [probabilities, novelty]}],  # subgraph_metadata: inputs, outputs
        7: "1.0.0",  # min_parser_version
    }


def _floats(value: float) -> np.ndarray:
    """Returns a vector of one float, which holds for all channels."""
    return np.array([value], np.float32)


def _add(builder: flatbuffers.Builder, value: Any) -> int:
    """Adds a table, vector or string to a FlatBuffer and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, list):
        offsets = [_add(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
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
