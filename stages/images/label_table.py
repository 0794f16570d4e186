"""Tables of labels: CSV or TSV with a row per image."""

import collections
import dataclasses
import posixpath
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pandas as pd

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.images.find import ImageFile
from stages.images.given_splits import split_of

TEXTS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".md", ".xml", ".xlsx", ".parquet"}  # no images, if without a row


def apply(files: list[ImageFile], data: params.Data) -> tuple[list[ImageFile], list[str]]:
    """Gives files the labels, splits, groups and metadata of data.labels.

    Args:
        files: of data.images.
        data: the group `data` of params.yaml.

    Returns:
        (list of ImageFile, list of str): sorted by path, with a problem for each row without a file, file without a
        row, file of several rows, and row without a label or split; and these problems in words.

    Raises:
        UserError: the table cannot be read, lacks a column, has a split that is none, or fits no file.
    """
    table = read(data.labels, data.columns)
    if table.empty:
        raise UserError(f"{data.labels} has no rows. Set data.labels to a table with a row per image.")
    matched, problems = _match(table["path"], files, data.images)
    rows_of = collections.Counter(matched)
    if files and rows_of[None] == len(table):
        raise UserError(
            f"{data.labels}: no row fits a file of {data.images}: the first row names "
            f"{printable(table['path'].iloc[0])!r}, the first file is {printable(files[0].path)!r}. Set "
            "data.columns.path to the column of the paths, which are relative to data.images."
        )
    splits = "split" in table and data.split == "auto"
    metadata = [name for name in table if name not in ("path", "label", "split", "group")]
    records = table.to_dict("records")
    of_file = {file: row for row, file in enumerate(matched) if file is not None}
    images = [_without_file(records[row], problem) for row, problem in problems.items()]
    named = Path(data.labels).resolve()
    for number, file in enumerate(files):
        if number not in of_file:
            if is_text(file.path) or (Path(data.images) / file.path).resolve() == named:
                continue
            images.append(dataclasses.replace(file, problem=file.problem or "has no row in the table"))
            continue
        record, many = records[of_file[number]], rows_of[number]
        problem = f"has {many} rows in the table" if many > 1 else "has an empty label" if not record["label"] else ""
        problem = problem or ("has an empty split" if splits and not record["split"] else "")
        images.append(
            ImageFile(
                file.path,
                class_name=record["label"],
                problem=problem or file.problem,
                split=record["split"] if splits else "",
                group=record.get("group", ""),
                metadata={name: record[name] for name in metadata},
            )
        )
    known = {file.path: file.problem for file in files}
    faults = [image for image in images if image.problem and image.problem != known.get(image.path)]
    faults.sort(key=lambda image: image.path)
    return sorted(images, key=lambda image: image.path), [f"{printable(x.path)} ({x.problem})" for x in faults]


def is_text(path: str) -> bool:
    """Tells whether a file without a label is what lies beside images, a table or a note, by its name."""
    return PurePosixPath(path).suffix.lower() in TEXTS


def read(path: str, columns: params.Columns) -> pd.DataFrame:
    """Reads a table of labels.

    Args:
        path: of a file whose cells are separated by commas, tabs or semicolons.
        columns: the names of its columns.

    Returns:
        DataFrame of str: path, label, split (train, validation, test or empty) and group, if they are there, and all
        other columns under their own names.

    Raises:
        UserError: it cannot be read, lacks a column, or has a split that is none.
    """
    try:
        with open(path, encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter(
                "error", pd.errors.ParserWarning
            )  # a row with more cells than the header would lose some
            header = file.readline()
            file.seek(0)
            separator = max(",\t;", key=header.count)
            table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Set data.labels to a CSV or TSV table of labels.") from None
    except pd.errors.ParserWarning:
        raise UserError(
            f"{path} has rows with more cells than its header. Quote cells with {separator!r} in them."
        ) from None
    except ValueError as error:  # pandas's errors are ValueErrors
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"{path} is no CSV or TSV table in UTF-8: {reason}. Mend it, or save it as one.") from None
    table = table.apply(lambda column: column.str.strip()).rename(columns=str.strip)
    table = table.drop(columns=[name for name in table if not name or name.startswith("Unnamed: ")])
    default = params.Columns()
    for name, own in columns.model_dump().items():
        needed = name in ("path", "label") or own not in ("", getattr(default, name))
        if needed and own not in table:
            raise UserError(f"{path} has no column {own!r}, but {enumeration(list(table))}: set data.columns.{name}.")
    names = {own: name for name, own in columns.model_dump().items() if own in table}
    table = table.rename(
        columns=lambda name: names.get(name, f"table_{name}" if name in columns.model_dump() else name)
    )
    if "split" in table:
        given = table["split"]
        table["split"] = given.map(lambda name: split_of(name) or "")
        if unknown := sorted(set(given[(table["split"] == "") & (given != "")])):
            raise UserError(
                f"{path}: {enumeration(list(map(repr, unknown)), 5)} in the column {columns.split!r} is no split: "
                "write train, validation or test, or set data.columns.split to another column, or to '' for none."
            )
    return table


def _match(rows: pd.Series, files: list[ImageFile], folder: str) -> tuple[list[int | None], dict[int, str]]:
    """Finds the file of each row: by its path, the path without extension, the name or the name without extension.

    Returns:
        (list, dict): the place of each row's file, None where there is none or it is not clear which; and from such
        rows to the reason.
    """
    kinds: list[Callable[[str], str]] = [str, _stem, posixpath.basename, lambda path: _stem(posixpath.basename(path))]
    paths = [unicodedata.normalize("NFC", file.path) for file in files]
    prefix = f"{posixpath.normpath(folder)}/"
    wanted = [posixpath.normpath(written.replace("\\", "/")) for written in rows]
    wanted = [unicodedata.normalize("NFC", path).removeprefix(prefix) for path in wanted]
    found: list[list[int]] = [[] for _ in wanted]
    for kind in kinds:
        missing = [row for row, numbers in enumerate(found) if not numbers]
        if not missing:
            break
        places: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            places.setdefault(kind(path), []).append(number)
        for row in missing:
            found[row] = places.get(wanted[row], [])
    problems = {}
    for row, numbers in enumerate(found):
        if not numbers:
            problems[row] = "is in the table, but there is no such file"
        elif len(numbers) > 1:
            names = enumeration([printable(files[number].path) for number in numbers], 3)
            problems[row] = f"is in the table, and fits several files: {names}"
    return [numbers[0] if len(numbers) == 1 else None for numbers in found], problems


def _without_file(record: dict[str, str], problem: str) -> ImageFile:
    return ImageFile(record["path"] or "(an empty path)", record["label"], problem)


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]
