"""Decoding of all images, in threads, into arrays of packed pixels on disk."""

import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.arrays import ArrayFile
from stages.decoding.decode import decode
from stages.decoding.unreadable import UnreadableError
from stages.labels.files import ImageFile
from stages.splits import near_duplicates
from stages.splits.near_duplicates import Fingerprints

BLANK = 2  # grey levels of 255 between the extremes of each channel, up to which an image is blank
QUEUED = 1024  # images that wait for a thread at a time: map() takes up all of its arguments at once

# A row per image, sorted by path; its index holds the rows of the packed pixels. Columns: path, class, sha256 of the
# file, original width and height in pixels, blank (whether it is all one colour); then pixel_hash (equal for identical
# pixels), duplicates (the number of a set of near-duplicates), group (the number of a group, which stays in one split),
# split (the given one or empty), and the further columns of the table of labels.
Manifest: TypeAlias = pd.DataFrame


def pack_images(
    folder: str | Path,
    images: Sequence[ImageFile],
    pixels: ArrayFile,
    thumbnails: ArrayFile,
    max_pixels: int,
    background: str,
) -> tuple[Manifest, Fingerprints]:
    """Decodes every image once, several at a time; fills `pixels` and `thumbnails`, and returns the fingerprints.

    The manifest has the columns path to blank, and problem, which is empty for an image that can be read. Images of
    more than `max_pixels` pixels cannot be read; transparent ones are composited on `background`. The rows of images
    that cannot be read stay 0.

    Raises:
        MemoryError, OSError: the machine is at fault, not the image.
    """
    sha256, problems = [""] * len(images), [image.problem for image in images]
    blank, failed = np.zeros(len(images), bool), []
    sizes, fingerprints = np.zeros((len(images), 2), int), np.zeros(len(images), near_duplicates.FINGERPRINT)

    def pack_image(row: int) -> None:
        if not problems[row]:
            try:
                path = Path(folder) / images[row].path
                sha256[row], sizes[row], decoded = decode(path, pixels.shape[1], max_pixels, background)
                blank[row] = (np.ptp(decoded, axis=(0, 1)) <= BLANK).all()
                fingerprints[row], thumbnails[row] = near_duplicates.fingerprint(decoded)
                pixels[row] = decoded
            except ValueError as error:
                problems[row] = str(error)
                if not isinstance(error, UnreadableError):
                    failed.append(row)

    threads = min(32, (os.cpu_count() or 1) + 4)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:  # Pillow works without Python's lock
        _start(pool, threads)
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata; set here, because it holds for all threads
        rows = range(len(images))
        progress = tqdm(None, "decoding", len(rows), unit="image", disable=None)
        for first in rows[::QUEUED]:
            for _ in pool.map(pack_image, rows[first : first + QUEUED]):
                progress.update()
        progress.close()
        for row in list(failed):  # decoders call lack of memory a broken file: now, no other thread takes any
            problems[row] = ""
            pack_image(row)
    paths, classes = [image.path for image in images], [image.class_name for image in images]
    table = pd.DataFrame({"path": paths, "class": classes, "sha256": sha256})
    return table.assign(width=sizes[:, 0], height=sizes[:, 1], blank=blank, problem=problems), fingerprints


def _start(pool: ThreadPoolExecutor, threads: int) -> None:
    """Starts all threads of a pool before images take memory: Python waits for ever for one that starts without any."""
    started = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            pool.submit(started.wait)
        started.wait()
    except RuntimeError:  # no further thread can be started: the others would wait for it
        started.abort()
        raise
