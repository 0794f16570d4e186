"""Writes the built-in sample, 100 faces and 100 other crops, as PNG files.

    python -m data.faces.fetch

The images lie inside the scikit-image package, so that nothing is downloaded.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import numpy as np
import skimage.data
from PIL import Image

from stages.common import cli, files


def main() -> None:
    # uint8 steps are finer than what LFW's JPEG files held before they were scaled down to 25 x 25.
    images = np.round(skimage.data.lfw_subset() * 255).astype(np.uint8)
    with files.replacing(images="data/faces/images") as out:
        # Documented order of lfw_subset(): the first half are faces, the second half are not.
        for name, half in zip(("face", "not face"), np.split(images, 2), strict=True):
            (out.images / name).mkdir(parents=True)
            for number, pixels in enumerate(half):
                Image.fromarray(pixels).save(out.images / name / f"{number:03}.png")


if __name__ == "__main__":
    cli.run(main)
