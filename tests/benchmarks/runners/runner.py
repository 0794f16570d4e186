"""What the scripts of this folder share, which run in environments that have one runtime and NumPy, no more.

Their arguments are FILE PIXELS OUT [SETTING]: an exported file, images as .npy (uint8 [N, size, size, 3]), and the JSON
file to write: the outputs of all images by name. What they print are remarks for the table.
"""

import json
import sys
from pathlib import Path

import numpy as np


def run(load):
    """Predicts all images one at a time by what `load(FILE, [SETTING])` returns: a function from one to its outputs."""
    file, pixels, out, *setting = sys.argv[1:]
    predict = load(file, *setting)
    rows = [predict(image[np.newaxis]) for image in np.load(pixels)]
    outputs = {name: np.concatenate([row[name].reshape(1, -1) for row in rows]).tolist() for name in rows[0]}
    Path(out).write_text(json.dumps(outputs))


def named(outputs):
    """Returns one or two outputs by name: the probabilities come first."""
    return dict(zip(("probabilities", "novelty"), outputs, strict=False))


def dequantize(values, scale, zero_point):
    """Returns an output of a LiteRT file as floats; those of float files have a scale of 0."""
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
