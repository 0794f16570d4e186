"""Compares the model card's Python snippet and the signature `serving_bytes` with `stages.tools.predict`.

    python -m tests.benchmarks.usage FOLDER [--model data/models/classifier]

FOLDER has images, JPEG and PNG alone, for `serving_bytes`. Prints how many get another class than predict's, and the
largest difference of a probability, for images with and without an ICC profile.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import contextlib
import functools
import io
import warnings
from pathlib import Path

import pandas as pd
import tensorflow as tf
from PIL import Image

from stages.common import cli
from stages.reporting import model_card
from stages.tools import predict


def main():
    parser = cli.parser(__doc__)
    parser.add_argument("folder")
    parser.add_argument("--model", default=predict.MODEL)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    tf.saved_model.load = functools.cache(tf.saved_model.load)  # once for all runs of the snippet
    rows = []
    for prediction in predict.predict([arguments.folder], arguments.model):
        profiled = "icc_profile" in Image.open(prediction.path).info
        expected = list(prediction.probabilities.values())
        for way, function in {"snippet": snippet, "serving_bytes": serving_bytes}.items():
            label, probabilities = function(prediction.path, arguments.model)
            rows.append(
                {
                    "way": way,
                    "ICC profile": profiled,
                    "images": 1,
                    "other class": list(prediction.probabilities)[label] != prediction.predicted,
                    "difference": max(abs(a - b) for a, b in zip(probabilities, expected, strict=True)),
                }
            )
    table = pd.DataFrame(rows).groupby(["way", "ICC profile"])
    print(
        table.agg({"images": "sum", "other class": "sum", "difference": "max"}).to_string(float_format="{:.2g}".format)
    )


def snippet(path, model):
    """Returns the label and the probabilities of the model card's snippet."""
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(model_card.USAGE.replace('"my.jpg"', repr(path)).replace(f'"{predict.MODEL}"', repr(model)), names)
    return int(names["label"]), names["probabilities"]


def serving_bytes(path, model):
    """Returns the label and the probabilities of the signature for encoded bytes."""
    model = tf.saved_model.load(model)
    answer = model.signatures["serving_bytes"](image_bytes=tf.constant([Path(path).read_bytes()]))
    probabilities = answer["probabilities"].numpy()[0].tolist()
    two = len(probabilities) == 2
    label = probabilities[1] >= float(model.threshold) if two else probabilities.index(max(probabilities))
    return int(label), probabilities


if __name__ == "__main__":
    cli.run(main)
