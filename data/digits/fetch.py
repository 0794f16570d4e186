"""Writes the built-in sample, 350 handwritten digits, as PNG files.

    python -m data.digits.fetch

Writes data/digits/images/CLASS/NUMBER.png. The images lie inside the scikit-learn package: nothing is downloaded.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from stages.common import cli, files

PER_CLASS, SEED = 35, 1  # of about 180: enough for fine-tuning to pay, few enough for a minute on a laptop
WHITE = 16  # the highest grey level of the data set


def main() -> None:
    digits = load_digits()
    rng = np.random.default_rng(SEED)
    pixels = np.round(digits.images * (255 / WHITE)).astype(np.uint8)
    with files.replacing(images="data/digits/images") as out:
        for label, name in enumerate(map(str, digits.target_names)):
            (out.images / name).mkdir(parents=True)
            for row in rng.permutation(np.flatnonzero(digits.target == label))[:PER_CLASS]:
                Image.fromarray(pixels[row]).save(out.images / name / f"{row:04}.png")


if __name__ == "__main__":
    cli.run(main)
