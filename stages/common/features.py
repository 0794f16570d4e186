"""The features of all images, as the base extracts them before any training."""

from collections.abc import Mapping

import numpy as np

from stages.common import files
from stages.common.arrays import Features
from stages.common.cli import UserError
from stages.common.dataset import SPLITS, Split

# Their files, which train_frozen and evaluate write, float16 [N, D].
FILES = {name: f"data/features/{name}.npy" for name in SPLITS}


def load(splits: Mapping[str, Split]) -> Features:
    """Returns the features of the images of these splits, one split after the other.

    Raises:
        UserError: they are missing, or of other images.
    """
    parts = []
    for name, split in splits.items():
        try:
            parts.append(files.read_array(FILES[name]).astype(np.float32))
        except FileNotFoundError:
            raise UserError(f"{FILES[name]} is missing: run `dvc repro` first.") from None
        if len(parts[-1]) != len(split.labels):
            raise UserError(f"{FILES[name]} is not of the images in data/splits/{name}: run `dvc repro`.")
    return np.concatenate(parts)
