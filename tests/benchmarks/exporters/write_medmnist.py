"""Writes what MedMNIST's `save` writes, of images whose names begin with their class: IMAGES OUT."""

import sys
from pathlib import Path

import numpy as np
from medmnist.utils import save2d
from PIL import Image

images, out = map(Path, sys.argv[1:])
paths = [path for path in sorted(images.iterdir()) if not path.stem.startswith("none")]
arrays = {}
for folder in ("single", "several", "twice", "array"):
    (out / folder).mkdir(parents=True)
for split, places in {"train": (0, 1), "val": (2,), "test": (3,)}.items():
    part = [path for path in paths if int(path.stem.split("_")[1]) % 4 in places]
    pixels = np.stack([np.asarray(Image.open(path)) for path in part])
    labels = np.array([[path.stem.startswith("dog")] for path in part], np.uint8)
    arrays |= {f"{split}_images": pixels, f"{split}_labels": labels}
    several = np.hstack([labels, labels, 1 - labels])
    save2d(pixels, labels, str(out / "single/pathmnist"), split, "png", str(out / "single/pathmnist.csv"))
    save2d(pixels, several, str(out / "several/chestmnist"), split, "png", str(out / "several/chestmnist.csv"))
    for _ in range(2):
        save2d(pixels, labels, str(out / "twice/pathmnist"), split, "png", str(out / "twice/pathmnist.csv"))
np.savez_compressed(out / "array/pathmnist.npz", **arrays)
