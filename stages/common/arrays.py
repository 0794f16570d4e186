"""Types of the arrays that rooms exchange, and arrays on disk, which are read and written row by row.

N is the number of images, C the number of classes, D the number of features.
"""

import errno
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from stages.common.cli import UserError, counted_bytes

Labels: TypeAlias = np.ndarray  # int64 [N]: an image's class, as its place among the sorted class names
Groups: TypeAlias = np.ndarray  # int64 [N]: the same number for images that count as one piece of evidence
Probabilities: TypeAlias = np.ndarray  # float [N, C]: rows sum to 1
Logits: TypeAlias = np.ndarray  # float32 [N, C]; of two classes [N, 1], the second one's
Features: TypeAlias = np.ndarray  # float32 [N, D]: the pooled output of MobileNetV2, D is 1280
Sizes: TypeAlias = np.ndarray  # int64 [N, 2]: width and height of image files in pixels, EXIF orientation applied


class ArrayFile:
    """A .npy file, [N, ...], of which only the indexed rows are read or written.

    The pages of a memory map would count as memory of the process.
    """

    def __init__(self, path: str | Path, mode: str = "rb") -> None:
        self._file = open(path, mode)
        np.lib.format.read_magic(self._file)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(self._file)
        self._start, self._bytes = self._file.tell(), math.prod(self.shape[1:]) * self.dtype.itemsize

    @classmethod
    def create(cls, path: str | Path, shape: Sequence[int], dtype: Any = np.uint8) -> Self:
        """Writes a file of zeros and opens it for writing. Raises a UserError if the disk has no room for it."""
        size, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(Path(path).parent).free
        if size > free:
            raise UserError(
                f"{path} needs {counted_bytes(size)}, but {counted_bytes(free)} are free on that disk: free some."
            )
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
        return cls(path, "r+b")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Reads one row by its number, or several by a slice or an array."""
        if isinstance(rows, (int, np.integer)):
            if not 0 <= rows < len(self):
                raise IndexError(rows)
            data = os.pread(self._file.fileno(), self._bytes, self._start + int(rows) * self._bytes)
            if len(data) < self._bytes:
                raise OSError(errno.EIO, "The file is truncated", self._file.name)
            return np.frombuffer(data, self.dtype).reshape(self.shape[1:])
        numbers = np.arange(len(self))[rows]
        return np.stack([self[row] for row in numbers]) if len(numbers) else np.empty((0, *self.shape[1:]), self.dtype)

    def __setitem__(self, row: int, values: np.ndarray) -> None:
        """Writes one row, or several from `row` on."""
        data, start = np.ascontiguousarray(values, self.dtype).tobytes(), self._start + int(row) * self._bytes
        if os.pwrite(self._file.fileno(), data, start) < len(data):  # a full disk takes a part, without an error
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)


def write_header(file: Any, shape: Sequence[int], dtype: Any) -> None:
    """Writes the head of a .npy file, which the rows follow."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)


def save(path: str | Path, values: np.ndarray) -> None:
    """Writes an array, [N, ...], as a .npy file. In np.save, a full disk is an error that does not say so."""
    ArrayFile.create(path, values.shape, values.dtype)[0] = values


Pixels: TypeAlias = np.ndarray | ArrayFile  # uint8 [N, image_size, image_size, 3]: RGB, in memory or on disk
