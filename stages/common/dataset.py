"""A split on disk: packed pixels, read as they are needed, and the manifest with labels and paths."""

import collections
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError

SPLITS = ("train", "validation", "test")
ROOT = "data/splits"
CLASSES = f"{ROOT}/classes.json"
GROUP_TEXT = "table_group"  # the column of manifests that keeps the groups of a table of labels as they are written
# Columns of every manifest. All others are text, as the table of labels has them: "007" and "True" are no numbers.
COLUMNS = {
    "path": str,
    "class": str,
    "label": int,
    "sha256": str,
    "width": int,
    "height": int,
    "group": int,
    "duplicates": int,
}

Step = TypeVar("Step")
Data = TypeVar("Data")


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        pixels: uint8 [N, image_size, image_size, 3], RGB, on disk.
        manifest: N rows in the same order, with the columns path (relative to data.images), class, label (its place
            among the sorted class names), sha256 (of the file), width and height (of the original, in pixels), group
            (the same number for images that stay together: near-duplicates, and those of one group of the user's),
            duplicates (the same number for near-duplicates alone) and the further columns of data.labels, as text.
        classes: list of str, all class names, sorted.
    """

    pixels: ArrayFile
    manifest: pd.DataFrame
    classes: list[str]

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return self.manifest["label"].to_numpy()

    @functools.cached_property
    def sha256(self) -> str:
        """A hash of pixels and labels, in hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).data)
        for image in range(len(self.labels)):
            digest.update(np.ascontiguousarray(self.pixels[image]).data)
        return digest.hexdigest()

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.pixels.shape[1]


def create(folder: Path, pixels: ArrayFile, rows: Sequence[int], manifest: pd.DataFrame) -> None:
    """Writes one split.

    Args:
        folder: a path that does not exist yet.
        pixels: ArrayFile, [M, image_size, image_size, 3].
        rows: int [N], which of them belong to this split, in the order of `manifest`.
        manifest: N rows.
    """
    folder.mkdir()
    packed = ArrayFile.create(folder / "pixels.npy", (len(rows), *pixels.shape[1:]))
    for place, row in enumerate(rows):
        packed[place] = pixels[row]
    files.write_csv(manifest, folder / "manifest.csv")


def load(name: str, root: str | Path = ROOT) -> Split:
    """Opens the split `name`: train, validation or test, of data/splits or of a copy of it.

    Raises:
        UserError: it has not been written yet.
    """
    folder = Path(root) / name
    try:
        return Split(
            pixels=ArrayFile(folder / "pixels.npy"),
            manifest=files.read_csv(folder / "manifest.csv", types=collections.defaultdict(lambda: str, COLUMNS)),
            classes=files.read_json(Path(root) / "classes.json"),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro split` first.") from None


def evenly_spaced(values: np.ndarray, count: int) -> np.ndarray:
    """Returns up to `count` evenly spaced elements of an array, [N] -> [n], n <= count."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]


def batches(split: Split, steps: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (uint8 pixels, int64 labels) of each array of rows in `steps`; the next are read ahead from disk."""
    return read_ahead(lambda rows: (split.pixels[rows], split.labels[rows]), steps)


def read_ahead(read: Callable[[Step], Data], steps: Iterable[Step]) -> Iterator[Data]:
    """Yields read(step) of each of `steps`, read ahead in a thread."""
    ahead: collections.deque[Future[Data]] = collections.deque()
    with ThreadPoolExecutor(1) as reader:
        for step in steps:
            ahead.append(reader.submit(read, step))
            if len(ahead) > 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
