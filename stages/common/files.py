"""Atomic outputs, and the CSV and JSON files that stages exchange."""

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

DIGITS = 6  # significant ones; further ones of a network's output differ from processor to processor
# Names in tables are text: a class may be called "NA" or "007".
TEXT_TYPES: Mapping[str, type] = dict.fromkeys(
    "path class actual predicted frozen given suggested reason attribute value range".split(), str
)


@contextlib.contextmanager
def replacing(**paths: str | Path) -> Iterator[SimpleNamespace]:
    """Lets the caller write files or folders beside their places, and moves them there once all are complete.

    Args:
        paths: the places by names of the caller's choice, relative to the repository root. What stands there stays
            until the block has ended well.

    Yields:
        SimpleNamespace: where to write, a Path by each name. Folders above exist; the path itself does not.
    """
    targets = {name: Path(path) for name, path in paths.items()}
    partial = {name: target.with_name(f".{target.name}.tmp") for name, target in targets.items()}
    for path in partial.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(path)  # what a killed run left behind
    try:
        yield SimpleNamespace(**partial)
        for name, target in targets.items():
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(partial[name], target)
    finally:
        for path in partial.values():
            _remove(path)


@contextlib.contextmanager
def scratch(folder: str | Path) -> Iterator[Path]:
    """Gives the caller an empty folder inside `folder` for the time of the block."""
    path = Path(folder) / ".scratch.tmp"
    _remove(path)  # what a killed run left behind
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        _remove(path)


def rounded(value: Any) -> Any:
    """Returns a value of what JSON can hold, nested or not, with numbers rounded to DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def write_json(value: Any, path: Path) -> None:
    """Writes a value as JSON that people can read and compare line by line, numbers with DIGITS significant digits."""
    path.write_text(json.dumps(rounded(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(table: pd.DataFrame, path: Path, errors: str = "surrogateescape") -> None:
    """Writes a table in which paths may hold any bytes, numbers with DIGITS significant digits.

    Args:
        table: DataFrame.
        path: of the file.
        errors: what becomes of bytes in names that are not UTF-8. "surrogateescape" writes them as they are, for
            `read_csv`, "backslashreplace" an escape in their place, for readers that insist on UTF-8, such as DVC.
    """
    # Quoted, because a carriage return in a name would otherwise end its row.
    # Rounded first: with a float_format, to_csv would quote numbers as text.
    columns = {name: column.map(rounded) for name, column in table.select_dtypes("floating").items()}
    table.assign(**columns).to_csv(path, index=False, errors=errors, quoting=csv.QUOTE_NONNUMERIC)


def read_csv(file: Any, errors: str = "surrogateescape", types: Mapping[str, type] = TEXT_TYPES) -> pd.DataFrame:
    """Reads a table that `write_csv` wrote, without guessing of missing values.

    Args:
        file: a path, or a file that is open.
        errors: what becomes of bytes that are not UTF-8, as in `write_csv`.
        types: of columns; those of others are guessed.
    """
    return pd.read_csv(file, keep_default_na=False, dtype=types, encoding_errors=errors)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file."""
    with np.load(path) as arrays:
        return dict(arrays)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
