"""Writes the fine-tuned model as a .keras file, which Keras opens without this code.

    python -m stages.tools.to_keras FILE.keras [--model FOLDER]

    FILE.keras      where to write it
    --model FOLDER  the SavedModel (data/models/classifier)

keras.models.load_model(FILE) takes raw pixels, [N, image_size, image_size, 3], RGB from 0 to 255, and gives the
probabilities of all classes, [N, C], in the order of data/models/exported/labels.txt. Its base is frozen.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.common import cli
from stages.common.cli import UserError
from stages.model import saved_model
from stages.tools import inference
from stages.tools.predict import MODEL


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("file", metavar="FILE.keras", type=Path)
    parser.add_argument("--model", default=MODEL)
    arguments = parser.parse_args()
    if arguments.file.suffix != ".keras":
        raise UserError(f"{arguments.file} must end in .keras.")
    network = build(saved_model.load(arguments.model))
    # Keras insists on the ending of the file's name.
    with tempfile.TemporaryDirectory(dir=arguments.file.parent, prefix=".", suffix=".tmp") as folder:
        network.save(Path(folder) / arguments.file.name)
        (Path(folder) / arguments.file.name).replace(arguments.file)
    print(f"wrote {arguments.file}")


def build(model: Any) -> keras.Model:
    """Returns a loaded SavedModel as a model of Keras's own layers, from pixels in [0, 255] to probabilities."""
    size, class_count = int(model.image_size), len(inference.classes_of(model))
    *base_weights, kernel, bias = (weight.numpy() for weight in model.weights)
    if class_count == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
        kernel, bias = (np.concatenate([np.zeros_like(array), array], axis=-1) for array in (kernel, bias))
    base = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)
    base.set_weights(base_weights)
    base.trainable = False
    inputs = keras.Input((size, size, 3), name="images")
    x = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(class_count, "softmax", name="probabilities")
    network = keras.Model(inputs, head(x))
    head.set_weights([kernel, bias])
    return network


if __name__ == "__main__":
    cli.run(main)
