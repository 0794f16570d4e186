"""Decoding every image once, several at a time, into packed pixels."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.images import near_duplicates
from stages.images.decode import decode

QUEUED = 1024  # images that wait for a thread at a time; map() notes down all that it is given


def pack(folder, images, pixels, thumbnails):
    """Decodes every image once, several at a time.

    Args:
        folder: the folder that the images' paths start from.
        images: N of ImageFile.
        pixels: dataset.Pixels, [N, size, size, 3], filled in, but for images that cannot be read.
        thumbnails: dataset.Pixels, [N, near_duplicates.SIDE, near_duplicates.SIDE, 3], filled in likewise.

    Returns:
        (DataFrame, array): N rows with path, class, sha256 of the file, original width and height in pixels, and why the
        image cannot be read: problem, empty if it can; and near_duplicates.FINGERPRINT [N].
    """
    sha256, problems = [""] * len(images), [x.problem for x in images]
    sizes, fingerprints = np.zeros((len(images), 2), int), np.zeros(len(images), near_duplicates.FINGERPRINT)

    def work(row):
        if not problems[row]:
            try:
                sha256[row], sizes[row], decoded = decode(Path(folder) / images[row].path, pixels.shape[1])
                fingerprints[row], thumbnails[row] = near_duplicates.fingerprint(decoded)
                pixels[row] = decoded
            except ValueError as error:
                problems[row] = str(error)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without Python's lock
        warnings.simplefilter("ignore")  # what Pillow says of odd metadata; set here because it holds for all threads
        rows = range(len(images))
        progress = tqdm(None, "decoding", len(rows), unit="image", disable=None)
        for start in rows[::QUEUED]:
            for _ in pool.map(work, rows[start : start + QUEUED]):
                progress.update()
        progress.close()
    table = pd.DataFrame(
        {
            "path": [x.path for x in images],
            "class": [x.class_name for x in images],
            "sha256": sha256,
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "problem": problems,
        }
    )
    return table, fingerprints
