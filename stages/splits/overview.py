"""Sample images of every class and split, and the original image sizes, for the charts of the data."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.common import dataset
from stages.common.arrays import ArrayFile
from stages.common.dataset import SPLITS

SAMPLES, SIDE = 8, 64  # images per class and split, and their side in pixels


def save(path: Path, manifest: pd.DataFrame, split: np.ndarray, pixels: ArrayFile) -> None:
    """Writes sample images and sizes as .npz.

    Per split: thumbnails, `{split}`, uint8 [C, SAMPLES, SIDE, SIDE, 3], evenly spaced among the images of each class,
    resized to squares; and `{split}_sizes`, int [C, SAMPLES, 2], width and height of their files, 0 where there are
    fewer. For all images: the original `sizes`, int [N, 2], width and height in pixels; and `labels`, [N].

    Args:
        path: of the .npz file.
        manifest: N rows with label, width and height; its index holds rows of `pixels`.
        split: str array [N]: "train", "validation" or "test".
        pixels: [M, size, size, 3].
    """
    classes = manifest["label"].nunique()
    arrays = {name: np.zeros((classes, SAMPLES, SIDE, SIDE, 3), np.uint8) for name in SPLITS}
    arrays |= {f"{name}_sizes": np.zeros((classes, SAMPLES, 2), int) for name in SPLITS}
    sizes = manifest[["width", "height"]]
    for (name, label), part in manifest.groupby([split, "label"]):
        for place, row in enumerate(dataset.evenly_spaced(part.index, SAMPLES)):
            arrays[name][label, place] = Image.fromarray(pixels[row]).resize((SIDE, SIDE))
            arrays[f"{name}_sizes"][label, place] = sizes.loc[row]
    with open(path, "wb") as file:
        np.savez(file, sizes=sizes, labels=manifest["label"], allow_pickle=False, **arrays)
