"""Decoding of all images, in threads, into arrays of packed pixels on disk."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.arrays import ArrayFile
from stages.decoding.decode import decode
from stages.labels.files import ImageFile
from stages.splits import near_duplicates

QUEUED = 1024  # images that wait for a thread at a time: map() takes up all of its arguments at once


def pack_images(
    folder: str | Path, images: Sequence[ImageFile], pixels: ArrayFile, thumbnails: ArrayFile, max_pixels: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Decodes every image once, several at a time.

    Args:
        folder: the folder that the images' paths start from.
        images: N image files.
        pixels: [N, size, size, 3], filled in, but for images that cannot be read.
        thumbnails: [N, near_duplicates.SIDE, near_duplicates.SIDE, 3], filled in likewise.
        max_pixels: an image of more pixels cannot be read.

    Returns:
        (DataFrame, array): N rows with path, class, sha256 of the file, original width and height in pixels, and
        problem, why the image cannot be read, empty if it can; and near_duplicates.FINGERPRINT [N].
    """
    sha256, problems = [""] * len(images), [image.problem for image in images]
    sizes, fingerprints = np.zeros((len(images), 2), int), np.zeros(len(images), near_duplicates.FINGERPRINT)

    def pack_image(row: int) -> None:
        if not problems[row]:
            try:
                sha256[row], sizes[row], decoded = decode(Path(folder) / images[row].path, pixels.shape[1], max_pixels)
                fingerprints[row], thumbnails[row] = near_duplicates.fingerprint(decoded)
                pixels[row] = decoded
            except ValueError as error:
                problems[row] = str(error)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without Python's lock
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata; set here, because it holds for all threads
        rows = range(len(images))
        progress = tqdm(None, "decoding", len(rows), unit="image", disable=None)
        for start in rows[::QUEUED]:
            for _ in pool.map(pack_image, rows[start : start + QUEUED]):
                progress.update()
        progress.close()
    table = pd.DataFrame(
        {
            "path": [image.path for image in images],
            "class": [image.class_name for image in images],
            "sha256": sha256,
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "problem": problems,
        }
    )
    return table, fingerprints
