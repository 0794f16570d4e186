"""Atomic outputs, and the files that stages exchange: CSV, JSON and .npz."""

import contextlib
import csv
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from stages.common.cli import UserError

DIGITS = 6  # significant digits that are written; further digits of a network's output differ between processors
TEXT_COLUMNS = "path class actual predicted frozen given suggested reason attribute value range"
TEXT_TYPES: Mapping[str, type] = dict.fromkeys(TEXT_COLUMNS.split(), str)  # a class may be called "NA" or "007"


@contextlib.contextmanager
def replacing(**paths: str | Path) -> Iterator[SimpleNamespace]:
    """Replaces files or folders, given by names of the caller's choice, if the block ends without an error.

    Yields paths to write to, by the same names. Their parent folders exist, they themselves do not.
    """
    targets = {name: Path(path) for name, path in paths.items()}
    partial = {name: target.with_name(f".{target.name}.tmp") for name, target in targets.items()}
    for path in partial.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(path)  # left by a killed run
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
    """Yields a new folder inside `folder`, and removes it at the end of the block."""
    path = Path(folder) / ".scratch.tmp"
    _remove(path)  # left by a killed run
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        _remove(path)


@contextlib.contextmanager
def checked(path: str | Path) -> Iterator[None]:
    """Turns the errors of a block that reads this output of a stage into a UserError, but for missing files."""
    try:
        yield
    except (ValueError, LookupError, TypeError, RecursionError, EOFError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged or of an earlier version: run `dvc repro`.") from None


def rounded(value: Any) -> Any:
    """Rounds all numbers in a JSON value to DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def write_json(value: Any, path: Path) -> None:
    """Writes a value as indented JSON, with numbers rounded to DIGITS significant digits."""
    path.write_text(json.dumps(rounded(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a file that `write_json` wrote. Raises a UserError if it is damaged."""
    with checked(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(table: pd.DataFrame, path: Path, errors: str = "surrogateescape") -> None:
    """Writes a table, with numbers rounded to DIGITS significant digits.

    Bytes that are not UTF-8 stand in texts as surrogates (PEP 383). `errors` says how they are written: as they are, or
    with "backslashreplace" as escapes, for readers that require UTF-8, such as DVC.
    """
    # Texts are quoted, because a carriage return in a name would end its row. Numbers are rounded before: with a
    # float_format, to_csv would quote them, too.
    columns = {name: column.map(rounded) for name, column in table.select_dtypes("floating").items()}
    table.assign(**columns).to_csv(path, index=False, errors=errors, quoting=csv.QUOTE_NONNUMERIC)


def read_csv(file: Any, errors: str = "surrogateescape", types: Mapping[str, type] = TEXT_TYPES) -> pd.DataFrame:
    """Reads a table that `write_csv` wrote, from a path or an open file. No text stands for a missing value.

    `errors` is that of `write_csv`; `types` are those of columns, by name; types of other columns are inferred.

    Raises:
        UserError: the table is damaged. Of an open file, the caller names it, with `checked`.
    """
    with checked(file) if isinstance(file, str | Path) else contextlib.nullcontext():
        table = pd.read_csv(file, keep_default_na=False, dtype=types, encoding_errors=errors)
        if table.isna().any(axis=None):
            raise ValueError("a row has fewer cells than the header")
    return table


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Reads an .npz file. Raises a UserError if it is damaged."""
    with checked(path), np.load(path) as arrays:
        return dict(arrays)


def read_array(path: str | Path) -> np.ndarray:
    """Reads a .npy file. Raises a UserError if it is damaged."""
    with checked(path):
        return np.load(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
