"""A split on disk: packed pixels, which training maps from disk, and the manifest that says what they show."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.command import UserError

CLASSES = "data/splits/classes.json"


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        pixels: uint8 [N, image_size, image_size, 3], RGB, mapped from disk.
        manifest: N rows in the same order, with the columns path, class, label and sha256. Paths are relative to
            data.images; label is the class's place among the sorted class names.
        classes: list of str, all class names, sorted.
    """

    pixels: np.ndarray
    manifest: pd.DataFrame
    classes: list

    @property
    def labels(self):
        """int64 [N]."""
        return self.manifest["label"].to_numpy()

    @property
    def image_size(self):
        """Side of the pictures in pixels."""
        return self.pixels.shape[1]


def create(folder, pixels, rows, manifest):
    """Writes one split.

    Args:
        folder: a path that does not exist yet.
        pixels: uint8 [M, image_size, image_size, 3].
        rows: int [N], which of them belong to this split, in the order of `manifest`.
        manifest: N rows.
    """
    folder.mkdir()
    packed = np.lib.format.open_memmap(
        folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(rows), *pixels.shape[1:])
    )
    for place, row in enumerate(rows):
        packed[place] = pixels[row]
    packed.flush()
    write_csv(manifest, folder / "manifest.csv")


def write_csv(table, path, errors="surrogateescape"):
    """Writes a table in which paths may hold any bytes.

    Args:
        table: DataFrame.
        path: of the file.
        errors: what becomes of bytes in names that are not UTF-8. "surrogateescape" writes them as they are, for `load`,
            "backslashreplace" an escape in their place, for readers that insist on UTF-8, such as DVC.
    """
    # Quoted, because a carriage return in a name would otherwise end its row.
    table.to_csv(path, index=False, errors=errors, quoting=csv.QUOTE_NONNUMERIC)


def load(name):
    """Opens the split `name`: train, validation or test.

    Raises:
        UserError: it has not been written yet.
    """
    folder = Path("data/splits") / name
    try:
        return Split(
            pixels=np.load(folder / "pixels.npy", mmap_mode="r"),
            # A class may be called "NA" or "007": no guessing of missing values or types.
            manifest=pd.read_csv(
                folder / "manifest.csv", keep_default_na=False, dtype={"path": str, "class": str},
                encoding_errors="surrogateescape",
            ),
            classes=json.loads(Path(CLASSES).read_text(encoding="utf-8")),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro split` first.") from None
