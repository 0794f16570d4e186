"""Files of tables: CSV, TSV, text in columns, JSON and JSON Lines, read as texts."""

import codecs
import io
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.cli import UserError, enumeration, printable
from stages.labels import files

NO_RECORDS = "it is JSON, but no list of objects with a file and a label each"
EXTENSIONS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".manifest"}


def read(path: str | Path, names: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a table of labels, as `cells` does. Row 0 holds the names of the columns: `names`, or the file's header.

    Raises:
        UserError: the file cannot be read, is no such table, has no rows, or more or fewer columns than `names`.
    """
    try:
        table = cells(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Set data.labels to a table of labels.") from None
    if names and len(names) != table.shape[1]:
        raise UserError(
            f"data.columns.names has {len(names)} names, but {path} has {table.shape[1]} columns: its first line is "
            f"{', '.join(map(printable, table.iloc[0]))}."
        )
    if names:
        table = pd.concat([pd.DataFrame([list(names)]), table])
    if len(table) < 2:
        raise UserError(f"{path} has no rows. Set data.labels to a table with a row per image.")
    return table


def cells(path: str | Path) -> pd.DataFrame:
    """Reads a table in UTF-8 or Excel's UTF-16: cells as texts, without blanks around them, and without empty rows.

    Cells of text files are separated by commas, tabs or semicolons, or by blanks if the first line has none of these.
    The columns are numbered; row 0 is the file's header, unless it has none.

    JSON is a list of objects, an object with one such list in it, JSON Lines, a mapping from files to labels, or
    FiftyOne's of `classes` and `labels`. Names of nested keys are joined by dots. Where a list has several values under
    one name, the cell is a JSON list of those that differ.

    Raises:
        OSError: the file cannot be read.
        UserError: it is no such table.
    """
    try:
        utf_16 = Path(path).read_bytes().startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = Path(path).read_text(encoding="utf-16" if utf_16 else "utf-8-sig")
        table = _read_json(text) if text.lstrip()[:1] in ("{", "[") else _read_csv(text)
    except (ValueError, RecursionError) as error:  # pandas's and json's errors are ValueErrors
        reason = " ".join(str(error).split()).rstrip(".")
        advice = "Save it as one (in Excel: CSV UTF-8), with cells in quotes that have separators in them."
        if reason.startswith(NO_RECORDS):
            advice = "Make a table of it with a row per image."
        raise UserError(f"{path} is no table in CSV, TSV or JSON in UTF-8: {reason}. {advice}") from None
    table = table.fillna("").apply(lambda column: column.str.strip())  # rows may be shorter than the first one
    return table[(table != "").any(axis=1)]


def read_folder(folder: str, names: Sequence[str], needed: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Reads the tables in a folder that have the columns `needed`, one below the other, and the folder of each row.

    Raises:
        UserError: there is none.
    """
    frames, folders, others = [], [], []
    for below, problem in files.walk(folder):
        path = os.path.join(folder, below)
        if problem or not is_table(path):
            continue
        try:
            table = read(path, names)
        except UserError:  # a text that is no table
            continue
        header = list(table.iloc[0])
        if len({*header}) == len(header) and {name.casefold() for name in needed} <= {x.casefold() for x in header}:
            frames.append(table.iloc[1:].set_axis(header, axis=1))
            folders += [os.path.dirname(path)] * (len(table) - 1)
        else:
            others.append(f"{printable(path)} ({enumeration(list(map(printable, header)), 5)})")
    if not frames:
        there = f"there are {enumeration(others, 3)}" if others else "there is no table at all"
        raise UserError(
            f"data.labels is the folder {folder}, but no table in it has the column {'/'.join(needed)}: {there}. Set "
            "data.columns.path, or data.labels to a table."
        )
    table = pd.concat(frames, ignore_index=True).fillna("")
    return pd.concat([pd.DataFrame([list(table)]), table.set_axis(range(table.shape[1]), axis=1)]), folders


def _read_csv(text: str) -> pd.DataFrame:
    header = next((line for line in text.split("\n") if line.strip()), "")
    separator = max(",\t;", key=header.count)
    if separator not in header and len(header.split()) > 1:
        separator = r"\s+"
    # The header is read as a row, because pandas would rename columns, and drop cells of rows that have more.
    return pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)


def _read_json(text: str) -> pd.DataFrame:
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.split("\n") if line.strip()]
    records = _records(content)
    texts = [_flatten(record) for record in records]
    # A key that is a text in one record and an object in another, as Label Studio writes one answer or several.
    named = {name for row in texts for name, values in row.items() if any(values)}
    objects = {name for name in named if any(other.startswith(f"{name}.") for other in named)}
    rows = [{name: _cell(values) for name, values in _flatten(record, "", objects).items()} for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame([names, *([row.get(name, "") for name in names] for row in rows)])


def _records(content: Any) -> list[dict[str, Any]]:
    """Returns the rows of a JSON table, one object each.

    Raises:
        ValueError: the content is none of the kinds of tables that `read` names.
    """
    lists = [content]
    if isinstance(content, dict):
        if isinstance(content.get("labels"), dict):  # FiftyOne's: labels are names, or places in `classes`
            names = content.get("classes")
            classes = dict(enumerate(names if isinstance(names, list) else []))
            labels = {path: x.get("label") if isinstance(x, dict) else x for path, x in content["labels"].items()}
            return [{"path": path, "label": classes.get(x, x) if type(x) is int else x} for path, x in labels.items()]
        if content and not any(isinstance(value, dict | list) for value in content.values()):
            return [{"path": path, "label": label} for path, label in content.items()]
        lists = list(content.values())
    found = [x for x in lists if isinstance(x, list) and x and all(isinstance(record, dict) for record in x)]
    if len(found) == 1:
        return found[0]
    keys = f", but of {enumeration(list(map(printable, content)), 5)}" if isinstance(content, dict) else ""
    raise ValueError(f"{NO_RECORDS}{keys}")


def _flatten(value: Any, name: str = "", whole: Collection[str] = ()) -> dict[str, list[str]]:
    """Returns the texts in a JSON value by the dotted names of their keys; elements of a list have the list's name.

    Objects with a name in `whole` are one text, and annotations that Label Studio's users have skipped are none.
    """
    if not isinstance(value, dict | list) or isinstance(value, dict) and name in whole:
        return {name: ["" if value is None else value if isinstance(value, str) else json.dumps(value)]}
    found: dict[str, list[str]] = {}
    if isinstance(value, dict) and value.get("was_cancelled") is True:
        return found
    for key, part in _parts(value):
        for inner, texts in _flatten(part, ".".join(filter(None, (name, key))), whole).items():
            found.setdefault(inner, []).extend(texts)
    return found


def _parts(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    yield from value.items() if isinstance(value, dict) else (("", part) for part in value)


def _cell(texts: list[str]) -> str:
    different = list(dict.fromkeys(texts))
    return different[0] if len(different) == 1 else json.dumps(different, ensure_ascii=False)


def is_table(path: str) -> bool:
    """Tells by its extension whether a file may be a table of labels."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS
