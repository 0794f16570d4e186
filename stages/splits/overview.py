"""Sample images of every class and split, and the original image sizes, for the charts of the data."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.common import dataset
from stages.common.arrays import ArrayFile
from stages.common.dataset import SPLITS
from stages.splits.pack import Manifest

SAMPLES = 8  # images per class and split
SIDE = 64  # of a sample image, in pixels


def save(path: Path, manifest: Manifest, split: np.ndarray, pixels: ArrayFile) -> None:
    """Writes sample images and sizes as .npz.

    Per split: thumbnails, `{split}`, uint8 [C, SAMPLES, SIDE, SIDE, 3], evenly spaced among the images of each class,
    resized to squares; and `{split}_sizes`, int [C, SAMPLES, 2], width and height of their files, 0 where there are
    fewer. For all images: the original `sizes`, int [N, 2], width and height in pixels; and `labels`, [N].
    """
    classes, sizes = manifest["label"].nunique(), manifest[["width", "height"]]
    arrays = {name: np.zeros((classes, SAMPLES, SIDE, SIDE, 3), np.uint8) for name in SPLITS}
    arrays |= {f"{name}_sizes": np.zeros((classes, SAMPLES, 2), int) for name in SPLITS}
    for (name, label), part in manifest.groupby([split, "label"]):
        for place, row in enumerate(dataset.evenly_spaced(part.index, SAMPLES)):
            arrays[name][label, place] = Image.fromarray(pixels[row]).resize((SIDE, SIDE))
            arrays[f"{name}_sizes"][label, place] = sizes.loc[row]
    with open(path, "wb") as file:
        np.savez(file, sizes=sizes, labels=manifest["label"], allow_pickle=False, **arrays)
