"""Files of state: read again after a kill, a power cut or a fault of the disk, they are whole or not used.

The last SIZE bytes of a file are the CRC-32 of all that stands before them. It finds every error of up to 32 bits in a
row, so every flipped bit, and of other damage all but one case in 2**32 (W. Peterson, D. Brown, Proc. IRE 49, 1961).
"""

import contextlib
import errno
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from stages.training import distribution

SIZE = 4  # bytes of the checksum
CHUNK = 2**20  # bytes that are read at a time


class Writer:
    """A file of state that is being written, from its first byte to its last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._checksum = file, 0

    def write(self, data: Any) -> None:
        """Appends bytes, or a C-contiguous array."""
        self._file.write(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def finish(self) -> None:
        """Appends the checksum, and waits until the disk holds the file."""
        self._file.write(self._checksum.to_bytes(SIZE, "big"))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Writer]:
    """Replaces a file with what the block writes, if it ends without an error. No power cut undoes it afterwards."""
    process = f"{distribution.worker()}.{os.getpid()}"  # process ids are unique on one machine only
    incomplete = path.with_name(f"{path.name}.{process}.tmp")
    try:
        with incomplete.open("wb") as file:
            writer = Writer(file)
            yield writer
            writer.finish()
        os.replace(incomplete, path)
        _sync(path.parent)
    finally:
        incomplete.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Returns whether a file that `replacing` wrote is undamaged, and prints a warning if it is not.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        with path.open("rb") as file:
            left, checksum = os.fstat(file.fileno()).st_size - SIZE, 0
            while left > 0 and (data := file.read(min(left, CHUNK))):
                checksum, left = zlib.crc32(data, checksum), left - len(data)
            whole = file.tell() > 0 and file.read() == checksum.to_bytes(SIZE, "big")
    except OSError as error:
        if error.errno != errno.EIO:  # of a bad sector
            raise
        whole = False
    if not whole:
        print(f"WARNING: {path.parent.name}/{path.name} is damaged: computed anew", flush=True)
    return whole


def _sync(folder: Path) -> None:
    """Waits until the disk holds the names of a folder's files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
