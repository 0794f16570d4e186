"""Writes the fine-tuned model as a .keras file, which Keras opens without the code of this project.

    python -m stages.tools.to_keras FILE.keras [--model FOLDER]

    FILE.keras      path of the file
    --model FOLDER  the SavedModel (data/models/classifier)

The model that keras.models.load_model(FILE) returns takes raw pixels, [N, image_size, image_size, 3], RGB from 0 to
255, and returns {"probabilities": [N, C], "novelty": [N]}: the probabilities of all classes, in the order of
data/models/exported/labels.txt, and the novelty, above 1 for an image that is unlike the training images. Its base is
frozen. Its layers "features" and "probabilities" are where to put another head.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import tempfile
from pathlib import Path

from stages.common import cli
from stages.common.cli import UserError
from stages.formats import keras_model
from stages.model import saved_model
from stages.tools.predict import MODEL


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("file", metavar="FILE.keras", type=Path)
    parser.add_argument("--model", default=MODEL)
    arguments = parser.parse_args()
    if arguments.file.suffix != ".keras":
        raise UserError(f"{arguments.file} must end in .keras.")
    network = keras_model.build(saved_model.load(arguments.model))
    # A folder of its own, because Keras insists on the ending of the file's name.
    with tempfile.TemporaryDirectory(dir=arguments.file.parent, prefix=".", suffix=".tmp") as folder:
        network.save(Path(folder) / arguments.file.name)
        (Path(folder) / arguments.file.name).replace(arguments.file)
    print(f"wrote {arguments.file}")


if __name__ == "__main__":
    cli.run(main)
