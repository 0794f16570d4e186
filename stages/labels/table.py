"""Labels from a table: CSV or TSV with a row per image, and columns for given splits, groups and further facts."""

import codecs
import collections
import io
import itertools
import os
import posixpath
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from stages.common import dataset, params
from stages.common.cli import UserError, enumeration, printable
from stages.labels import files, given_splits
from stages.labels.files import ImageFile, Labelled

# Names that further columns cannot keep: those of manifests, and those that manifests have while `split` runs.
RESERVED = {*dataset.COLUMNS, "split", "pixels", "pixel_hash", "blank", dataset.GROUP_TEXT}


def find(found: list[ImageFile], data: params.Data) -> Labelled:
    """Gives files the labels, splits, groups and further columns of data.labels.

    A row without a file or with several, a file without a row or with several, and a row without a label or split are
    among the images, each with its problem.

    Raises:
        UserError: the table cannot be read, lacks a column, has a split that is none, or fits no file.
    """
    found, _ = files.without_texts(found)
    table = _read(data)
    records, matches = table.to_dict("records"), _match(table["path"], found, data.images)
    if found and not any(matches):
        raise UserError(
            f"{data.labels}: no row fits a file of {data.images}: the first row names "
            f"{printable(records[0]['path'])!r}, the first file is {printable(found[0].path)!r}. Set "
            "data.columns.path to the column of the paths, which are relative to data.images."
        )
    images, records_of = [], collections.defaultdict(list)
    for record, places in zip(records, matches, strict=True):
        if len(places) == 1:
            records_of[places[0]].append(record)
            continue
        problem = "is in the table, but there is no such file"
        if places:
            names = enumeration([printable(found[place].path) for place in places], 3)
            problem = f"is in the table, and fits several files: {names}"
        images.append(ImageFile(record["path"] or "(an empty path)", problem=problem))
    table_path = os.path.relpath(os.path.realpath(data.labels), os.path.realpath(data.images))
    for place, file in enumerate(found):
        if place in records_of or not (files.is_text(file.path) or file.path == table_path):
            images.append(_with_row(file, records_of[place]))
    images.sort(key=lambda image: image.path)
    labelled = Labelled(images, data.labels, has_splits=any(image.split for image in images))
    if not labelled.has_splits:
        return given_splits.add(labelled, given_splits.find(found), data)
    given = {image.split for image in images if not image.problem}
    if missing := [name for name in dataset.SPLITS if name not in given]:
        labelled.notes.append(f"{printable(data.labels)} has no split {' and no '.join(missing)}: cut from train.")
    return labelled


def _read(data: params.Data) -> pd.DataFrame:
    """Reads data.labels, with cells separated by commas, tabs or semicolons, in UTF-8 or Excel's UTF-16, as texts.

    The columns are path and label; split (train, validation, test or empty), if it is there and data.split is auto;
    group and the same as dataset.GROUP_TEXT, if it is there; and all others under their own names.
    """
    path = data.labels
    try:
        utf_16 = Path(path).read_bytes().startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = Path(path).read_text(encoding="utf-16" if utf_16 else "utf-8-sig")
        header = next((line for line in text.split("\n") if line.strip()), "")
        separator = max(",\t;", key=header.count)
        # The header is read as a row, because pandas would rename columns, and drop cells of rows that have more.
        cells = pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Set data.labels to a CSV or TSV table of labels.") from None
    except ValueError as error:  # pandas's errors are ValueErrors
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"{path} is no CSV or TSV table in UTF-8: {reason}. Save it as one (in Excel: CSV UTF-8), with cells in "
            "quotes that have separators in them."
        ) from None
    cells = cells.apply(lambda column: column.str.strip())
    cells = cells[(cells != "").any(axis=1)]
    if len(cells) < 2:
        raise UserError(f"{path} has no rows. Set data.labels to a table with a row per image.")
    names = _columns(list(cells.iloc[0]), data)
    table = cells.iloc[1:][list(names)].rename(columns=names)
    if "group" in table:
        table[dataset.GROUP_TEXT] = table["group"]
    given = table.pop("split") if "split" in table else pd.Series(dtype=str)
    if data.split == "auto" and given.any():
        splits = given_splits.splits_of(given) | {"": ""}
        table["split"] = given.map(splits)
        if unknown := sorted(set(given) - splits.keys()):
            raise UserError(
                f"{path}: {enumeration(list(map(repr, unknown)), 5)} in the column {data.columns.split!r} is no split: "
                "write train, validation or test, or set data.columns.split to another column, or to '' for none."
            )
    return table


def _columns(header: list[str], data: params.Data) -> dict[int, str]:
    """Returns the columns to use, from their places to path, label, split, group, or what manifests call the others.

    Columns without a name, such as the index that pandas writes, are left out. The case of a name counts only if the
    table has it in several.
    """
    defaults, used = params.Columns().model_dump(), dict[int, str]()
    for name, own in data.columns.model_dump().items():
        places = [place for place, column in enumerate(header) if column == own != ""]
        places = places or [place for place, column in enumerate(header) if column.casefold() == own.casefold() != ""]
        if not places and (name in ("path", "label") or own not in ("", defaults[name])):
            raise UserError(
                f"{data.labels} has no column {own!r}, but {enumeration(list(map(printable, header)))}: set "
                f"data.columns.{name} to one of them. The first line names the columns; labels are names in one column."
            )
        if len(places) > 1:
            raise UserError(f"{data.labels} has {len(places)} columns {own!r}: rename all but one.")
        for place in places:
            if place in used:
                raise UserError(
                    f"data.columns.{used[place]} and data.columns.{name} are both the column {own!r} of {data.labels}: "
                    "set one of them to another; split and group can be '', which is none."
                )
            used[place] = name
    for place, name in enumerate(header):
        if place not in used and name and not name.startswith("Unnamed: "):
            while name in RESERVED or name in used.values():
                name = f"table_{name}"
            used[place] = name
    return used


def _match(rows: pd.Series, found: list[ImageFile], folder: str) -> list[list[int]]:
    """Returns the files of each row, by their places in `found`.

    A row names a path below the folder, or any path with the folder's name in it (an absolute one of another computer,
    say), with or without extension; or the file's name, with or without extension. Case is ignored where there is no
    such file otherwise.
    """
    folds: list[Callable[[str], str]] = [str, str.casefold]
    kinds: list[Callable[[str], str]] = [str, _stem, posixpath.basename, lambda path: _stem(posixpath.basename(path))]
    paths = [unicodedata.normalize("NFC", file.path) for file in found]
    name = unicodedata.normalize("NFC", os.path.basename(os.path.abspath(folder)))
    wanted = [posixpath.normpath(unicodedata.normalize("NFC", row.replace("\\", "/"))) for row in rows]
    spelled = [(path, f"/{path}".partition(f"/{name}/")[2]) for path in wanted]
    matches: list[list[int]] = [[] for _ in spelled]
    for fold, kind in itertools.product(folds, kinds):
        places_of: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            places_of.setdefault(fold(kind(path)), []).append(place)
        for row, (whole, below) in enumerate(spelled):
            matches[row] = matches[row] or places_of.get(fold(whole)) or places_of.get(fold(below), [])
        if all(matches):
            break
    return matches


def _with_row(file: ImageFile, records: list[dict[str, str]]) -> ImageFile:
    """Returns a file with what its row says, or a problem if it has no row, several, or one without label or split."""
    if len(records) != 1:
        problem = f"has {len(records)} rows in the table" if records else "has no row in the table"
        return ImageFile(file.path, problem=file.problem or problem)
    [record] = records
    empty = next((f"has an empty {name}" for name in ("label", "split") if record.get(name) == ""), "")
    split, group = record.get("split", ""), record.get("group", "")
    columns = {name: text for name, text in record.items() if name not in ("path", "label", "split", "group")}
    return ImageFile(file.path, record["label"], file.problem or empty, split, group, columns)


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]
