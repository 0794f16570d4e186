"""Corrections of labels: the file data.corrections, and the images that its rows are about."""

import collections
import dataclasses
import difflib
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.common import files, machine, params
from stages.common.cli import UserError, counted, enumeration, printable
from stages.labels import table_file
from stages.labels.files import ImageFile

COLUMNS = ("path", "sha256", "decision", "label", "note")
LABELLING = ("label", "new_class")  # decisions that name a class: one of the data's, or a new one
DECISIONS = (*LABELLING, "drop", "unsure")
HEXADECIMAL = frozenset("0123456789abcdef")
NAMED = 5  # rows that an error names


@dataclass(frozen=True, slots=True)
class Correction:
    """What somebody has decided about the label of an image: a row of data.corrections."""

    path: str  # below data.images, with `/`
    sha256: str  # of the file; empty in a row that was written by hand
    decision: str  # one of DECISIONS
    label: str = ""  # the right class; empty for decisions that name none
    note: str = ""
    row: int = 0  # in its file, whose heading is row 1

    @property
    def names_class(self) -> bool:
        return self.decision in LABELLING

    @property
    def meaning(self) -> tuple[str, str]:
        """What two rows of one image must agree on: a class, whether it is new or not, or what is to be done."""
        return ("label", self.label) if self.names_class else (self.decision, "")

    def __str__(self) -> str:
        return f"row {self.row} ({printable(self.path or self.sha256)})"


def read(path: str | Path) -> list[Correction]:
    """Reads and checks data.corrections, a table as table_file.cells reads it; a heading alone holds none.

    The default file may be missing, as in a folder without the project's git.

    Raises:
        UserError: the file cannot be read or is no table, a column is missing, or a row says nothing that can be done.
    """
    if str(path) == params.CORRECTIONS and not os.path.exists(path):
        return []
    table = read_table(path, COLUMNS)
    return [parse(path, cells, row) for row, cells in zip(table.index, table.to_dict("records"), strict=True)]


def parse(path: str | Path, cells: Mapping[str, str], row: int) -> Correction:
    """Returns a row of the file `path`, whose columns are COLUMNS, with hash and decision in lower case.

    Raises:
        UserError: it says nothing that can be done.
    """
    found = Correction(
        cells["path"], cells["sha256"].lower(), cells["decision"].casefold(), cells["label"], cells["note"], row
    )
    problem = ""
    if not found.path and not found.sha256:
        problem = "names no image: give it a path"
    elif found.sha256 and (len(found.sha256) != 64 or not HEXADECIMAL.issuperset(found.sha256)):
        problem = f"has {found.sha256[:70]!r} for a sha256: leave it empty if you do not know it"
    elif found.decision not in DECISIONS:
        problem = f"has the decision {found.decision!r}, but it must be one of {enumeration(DECISIONS)}"
    elif found.names_class and not found.label:
        problem = f"has the decision {found.decision}, but no label: name the class"
    if problem:
        raise UserError(f"{path}: {found} {problem}.")
    return found if found.names_class else dataclasses.replace(found, label="")


def read_table(path: str | Path, needed: Collection[str]) -> pd.DataFrame:
    """Reads a table of texts with the columns `needed`, and others of COLUMNS that it has.

    Names of columns are in lower case. The index counts the rows, the heading being 1.

    Raises:
        UserError: the file cannot be read, is no table, or lacks a column.
    """
    try:
        cells = table_file.cells(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. It must be a table of corrections.") from None
    header = [name.casefold() for name in cells.iloc[0]] if len(cells) else []
    if missing := [name for name in needed if header.count(name) != 1]:
        raise UserError(
            f"{path} must have one column {enumeration(missing)}, but its first line is "
            f"{enumeration(list(map(printable, header))) or 'empty'}. The columns of corrections are "
            f"{','.join(COLUMNS)}."
        )
    known = [name for name in COLUMNS if header.count(name) == 1]  # a spreadsheet may add several without a name
    table = cells.iloc[1:].set_axis(header, axis=1)[known]
    return table.set_axis(table.index + 1)


def write(corrections: Iterable[Correction], path: str | Path) -> None:
    """Replaces data.corrections, with rows sorted by path."""
    rows = sorted((x.path, x.sha256, x.decision, x.label, x.note) for x in corrections)
    with files.replacing(table=path) as out:
        files.write_csv(pd.DataFrame(rows, columns=[*COLUMNS]), out.table, errors="backslashreplace")


def match(
    corrections: Iterable[Correction], hashes: Mapping[str, str], path: str
) -> tuple[dict[str, Correction], list[Correction]]:
    """Returns the correction of each image, by the image's path, and the rows of the file `path` that fit no image.

    A row fits the image at its path, if that has its hash or the row has none; otherwise the images with its hash that
    have no row at their path. The class that a row names is also that of files with the same bytes, as far as they have
    no row of their own.

    Args:
        hashes: the SHA-256 of each image by path; empty if it cannot be read.

    Raises:
        UserError: rows disagree on an image.
    """
    of_hash, of_image = collections.defaultdict(list), collections.defaultdict(list)
    for image, sha256 in hashes.items():
        of_hash[sha256].append(image)
    of_hash.pop("", None)
    moved: list[Correction] = []
    unmatched: list[Correction] = []
    for row in corrections:
        here = row.path if row.path in hashes else row.path.replace("\\", "/")
        if here in hashes and row.sha256 in ("", hashes[here]):
            of_image[here].append(row)
        else:
            (moved if row.sha256 in of_hash else unmatched).append(row)
    in_place = {*of_image}
    for row in moved:
        for image in of_hash[row.sha256]:
            if image not in in_place:
                of_image[image].append(row)
    for identical in of_hash.values():
        labels = [row for image in identical for row in of_image.get(image, []) if row.names_class]
        of_image.update({image: labels for image in identical if labels and image not in of_image})
    conflicts = {image: rows for image, rows in of_image.items() if len({row.meaning for row in rows}) > 1}
    if conflicts:
        named = [f"{' and '.join(map(str, rows))} disagree on {printable(image)}" for image, rows in conflicts.items()]
        raise UserError(f"{path}: {enumeration(named, NAMED)}. Keep one decision for each image.")
    return {image: rows[0] for image, rows in of_image.items()}, unmatched


def match_files(
    corrections: Sequence[Correction], images: Iterable[ImageFile], data: params.Data
) -> tuple[dict[str, Correction], list[Correction]]:
    """As `match`, for images that are not decoded. Only the files that rows may fit are read."""
    paths = {row.path for row in corrections}
    has_moved = any(row.sha256 and not os.path.isfile(os.path.join(data.images, row.path)) for row in corrections)
    hashes = {x.path: sha256_of(Path(data.images, x.path)) for x in images if has_moved or x.path in paths}
    return match(corrections, hashes, data.corrections)


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if machine.is_at_fault(error):
            raise
        return ""


def check_classes(corrections: Sequence[Correction], classes: Collection[str], path: str) -> None:
    """Checks that each class is one of `classes`, those of the data, or one that a row calls new.

    Raises:
        UserError: rows of the file `path` name others. The text has the nearest class to each.
    """
    known = {*classes, *(row.label for row in corrections if row.decision == "new_class")}
    if unknown := [row for row in corrections if row.names_class and row.label not in known]:
        folded = {name.casefold(): name for name in sorted(known)}
        near = [difflib.get_close_matches(row.label.casefold(), folded, n=1) for row in unknown]
        named = [
            f"{row} has {row.label!r}" + (f" (did you mean {folded[names[0]]!r}?)" if names else "")
            for row, names in zip(unknown, near, strict=True)
        ]
        raise UserError(
            f"{path} has labels that are no classes of the data: {enumeration(named, NAMED)}. The classes are "
            f"{enumeration(sorted(map(repr, known)))}; a row that names a new one has the decision new_class."
        )


def describe(counts: Mapping[str, int]) -> str:
    """Says in one line what was applied, from numbers of images; nothing if there are no corrections.

    Args:
        counts: changed, labelled (those that had no label), confirmed, dropped and unsure; and the rows that are
            obsolete: their decision is drop or unsure, and there is no such image.
    """
    words = {
        "changed": ("label changed", "labels changed"),
        "labelled": ("unlabelled image labelled", "unlabelled images labelled"),
        "confirmed": ("label confirmed", "labels confirmed"),
        "dropped": ("image dropped", "images dropped"),
        "unsure": ("image unsure", "images unsure"),
        "obsolete": ("row of an image that is gone", "rows of images that are gone"),
    }
    said = [counted(counts[key], *text) for key, text in words.items() if counts.get(key)]
    return f"Corrections: {', '.join(said)}." if said else ""
