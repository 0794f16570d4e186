"""A split on disk: packed pixels, read as they are needed, and the manifest with labels and paths."""

import collections
import errno
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.cli import UserError

SPLITS = ("train", "validation", "test")
CLASSES = "data/splits/classes.json"


class Pixels:
    """A .npy file of images, uint8 [N, size, size, 3], of which only what is indexed is read or written.

    A memory map would do the same, but what it touches counts as the process's memory until something else needs it.

    Attributes:
        shape: (N, size, size, 3).
    """

    def __init__(self, path: str | Path, mode: str = "rb") -> None:
        self._file = open(path, mode)
        np.lib.format.read_magic(self._file)
        self.shape, _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start, self._bytes = self._file.tell(), math.prod(self.shape[1:])

    @classmethod
    def create(cls, path: str | Path, count: int, size: int) -> Self:
        """Writes a file of `count` black images and opens it for writing."""
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        return cls(path, "r+b")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Reads one image, [size, size, 3], by its number, or several, [n, size, size, 3], by a slice or an array."""
        if isinstance(rows, (int, np.integer)):
            if not 0 <= rows < len(self):
                raise IndexError(rows)
            data = os.pread(self._file.fileno(), self._bytes, self._start + int(rows) * self._bytes)
            if len(data) < self._bytes:
                raise OSError(errno.EIO, "The file is truncated", self._file.name)
            return np.frombuffer(data, np.uint8).reshape(self.shape[1:])
        numbers = np.arange(len(self))[rows]
        return np.stack([self[row] for row in numbers]) if len(numbers) else np.empty((0, *self.shape[1:]), np.uint8)

    def __setitem__(self, row: int, pixels: np.ndarray) -> None:
        data, start = np.ascontiguousarray(pixels).tobytes(), self._start + int(row) * self._bytes
        if os.pwrite(self._file.fileno(), data, start) < self._bytes:  # what fits is written, without an error
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        pixels: uint8 [N, image_size, image_size, 3], RGB, on disk.
        manifest: N rows in the same order, with the columns path (relative to data.images), class, label (its place
            among the sorted class names), sha256 (of the file), width and height (of the original, in pixels) and group
            (the same number for images that are near-duplicates of each other).
        classes: list of str, all class names, sorted.
    """

    pixels: Pixels
    manifest: pd.DataFrame
    classes: list[str]

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return self.manifest["label"].to_numpy()

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.pixels.shape[1]


def create(folder: Path, pixels: Pixels, rows: Sequence[int], manifest: pd.DataFrame) -> None:
    """Writes one split.

    Args:
        folder: a path that does not exist yet.
        pixels: Pixels, [M, image_size, image_size, 3].
        rows: int [N], which of them belong to this split, in the order of `manifest`.
        manifest: N rows.
    """
    folder.mkdir()
    packed = Pixels.create(folder / "pixels.npy", len(rows), pixels.shape[1])
    for place, row in enumerate(rows):
        packed[place] = pixels[row]
    files.write_csv(manifest, folder / "manifest.csv")


def load(name: str) -> Split:
    """Opens the split `name`: train, validation or test.

    Raises:
        UserError: it has not been written yet.
    """
    folder = Path("data/splits") / name
    try:
        return Split(
            pixels=Pixels(folder / "pixels.npy"),
            manifest=files.read_csv(folder / "manifest.csv"),
            classes=files.read_json(CLASSES),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro split` first.") from None


def evenly_spaced(values: np.ndarray, count: int) -> np.ndarray:
    """Returns up to `count` evenly spaced elements of an array, [N] -> [n], n <= count."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]


def batches(split: Split, steps: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (uint8 pixels, int64 labels) of each array of rows in `steps`; the next are read ahead from disk."""
    ahead: collections.deque[Future] = collections.deque()
    with ThreadPoolExecutor(1) as reader:
        for rows in steps:
            ahead.append(reader.submit(lambda rows: (split.pixels[rows], split.labels[rows]), rows))
            if len(ahead) > 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
