"""A split on disk: the pixels of its images, and a manifest with their paths and labels."""

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
from stages.common.arrays import ArrayFile, Labels
from stages.common.cli import UserError

SPLITS = ("train", "validation", "test")
ROOT = "data/splits"
COMPARED = 1000  # maximum number of test images, evenly spaced, on which exported formats are compared
CLASSES = f"{ROOT}/classes.json"
GROUP_TEXT = "table_group"  # column of manifests with the groups of the table of labels, as they are written there
# Columns of every manifest. All others are text, as in the table of labels: "007" and "True" stay as they are.
TEXT, INTEGERS = ("path", "class", "sha256"), ("label", "width", "height", "group", "duplicates")
COLUMNS = dict.fromkeys(TEXT, str) | dict.fromkeys(INTEGERS, int)

Step = TypeVar("Step")
Data = TypeVar("Data")


@dataclass(frozen=True)
class Split:
    """One split: N images with their labels.

    Attributes:
        pixels: RGB, uint8 [N, image_size, image_size, 3].
        manifest: N rows in the same order, with COLUMNS and the further columns of data.labels, as text.
            path: file of the image, relative to data.images; sha256 is its hash.
            width, height: size of the original in pixels.
            group: the same number for images that stay in one split: near-duplicates, and groups of the user's.
            duplicates: the same number for near-duplicates.
        classes: names of all classes, sorted.
    """

    pixels: ArrayFile
    manifest: pd.DataFrame
    classes: list[str]

    @property
    def labels(self) -> Labels:
        return self.manifest["label"].to_numpy()

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of pixels and labels, in hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.labels).data)
        for row in range(len(self.labels)):
            digest.update(np.ascontiguousarray(self.pixels[row]).data)
        return digest.hexdigest()

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.pixels.shape[1]


def create(folder: Path, pixels: ArrayFile, rows: Sequence[int], manifest: pd.DataFrame) -> None:
    """Writes one split into a new folder: the given rows of `pixels`, and a manifest in the same order."""
    folder.mkdir()
    packed = ArrayFile.create(folder / "pixels.npy", (len(rows), *pixels.shape[1:]))
    for place, row in enumerate(rows):
        packed[place] = pixels[row]
    files.write_csv(manifest, folder / "manifest.csv")


def load(name: str, root: str | Path = ROOT) -> Split:
    """Opens one of SPLITS, in data/splits or in a copy of it. Raises a UserError if it is missing or damaged."""
    folder = Path(root) / name
    try:
        with files.checked(folder):
            pixels = ArrayFile(folder / "pixels.npy")
            manifest = files.read_csv(folder / "manifest.csv", types=collections.defaultdict(lambda: str, COLUMNS))
            if len(manifest) != len(pixels) or not COLUMNS.keys() <= {*manifest}:
                raise ValueError("pixels and rows do not belong together")
            return Split(pixels, manifest, files.read_json(Path(root) / "classes.json"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro split` first.") from None


def evenly_spaced(values: np.ndarray, count: int) -> np.ndarray:
    """Returns at most `count` evenly spaced elements of an array."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]


def read_ahead(read: Callable[[Step], Data], steps: Iterable[Step]) -> Iterator[Data]:
    """Yields read(step) for each step; a thread reads two steps ahead."""
    ahead: collections.deque[Future[Data]] = collections.deque()
    with ThreadPoolExecutor(1) as reader:
        for step in steps:
            ahead.append(reader.submit(read, step))
            if len(ahead) > 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
