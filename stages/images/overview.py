"""A first look at the data: a few images of every class and split, and the sizes that the images had."""

import numpy as np
from PIL import Image

from stages.common import dataset
from stages.common.dataset import SPLITS

SHOWN, SIDE = 8, 64  # images per class and split, and their side in pixels


def save(path, manifest, split, pixels):
    """Writes what the charts of the overview need as .npz.

    That is, per split, thumbnails, uint8 [C, SHOWN, SIDE, SIDE, 3]: evenly spaced among the images of each class, and
    white where there are fewer; the original sizes, int [N, 2]: width and height in pixels; and labels, int [N].

    Args:
        path: of the file.
        manifest: N rows with label, width and height; its index are rows of `pixels`.
        split: str array [N].
        pixels: uint8 [M, size, size, 3].
    """
    classes = manifest["label"].nunique()
    arrays = {name: np.full((classes, SHOWN, SIDE, SIDE, 3), 255, np.uint8) for name in SPLITS}
    for (name, label), part in manifest.groupby([split, "label"]):
        for place, row in enumerate(dataset.evenly_spaced(part.index, SHOWN)):
            arrays[name][label, place] = Image.fromarray(pixels[row]).resize((SIDE, SIDE))
    with open(path, "wb") as file:
        np.savez(file, sizes=manifest[["width", "height"]], labels=manifest["label"], **arrays)
