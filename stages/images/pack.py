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


def pack(folder, pictures, pixels, thumbnails):
    """Decodes every picture once, several at a time.

    Args:
        folder: the folder that the pictures' paths start from.
        pictures: N of Picture.
        pixels: dataset.Pixels, [N, size, size, 3], filled in, but for pictures that cannot be read.
        thumbnails: dataset.Pixels, [N, near_duplicates.SIDE, near_duplicates.SIDE, 3], filled in likewise.

    Returns:
        (DataFrame, array): N rows with path, class, sha256 of the file, original width and height in pixels, and why the
        picture cannot be read: problem, empty if it can; and near_duplicates.FINGERPRINT [N].
    """
    sha256, problems = [""] * len(pictures), [x.problem for x in pictures]
    sizes, fingerprints = np.zeros((len(pictures), 2), int), np.zeros(len(pictures), near_duplicates.FINGERPRINT)

    def work(row):
        if not problems[row]:
            try:
                sha256[row], sizes[row], decoded = decode(Path(folder) / pictures[row].path, pixels.shape[1])
                fingerprints[row], thumbnails[row] = near_duplicates.fingerprint(decoded)
                pixels[row] = decoded
            except ValueError as error:
                problems[row] = str(error)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without Python's lock
        warnings.simplefilter("ignore")  # what Pillow says of odd metadata; set here because it holds for all threads
        rows = range(len(pictures))
        progress = tqdm(None, "decoding", len(rows), unit="picture", disable=None)
        for start in rows[::QUEUED]:
            for _ in pool.map(work, rows[start : start + QUEUED]):
                progress.update()
        progress.close()
    table = pd.DataFrame({
        "path": [x.path for x in pictures],
        "class": [x.class_name for x in pictures],
        "sha256": sha256,
        "width": sizes[:, 0],
        "height": sizes[:, 1],
        "problem": problems,
    })
    return table, fingerprints
