"""Corrections of labels: the file data.corrections, and the images that its rows are about."""

import collections
import difflib
import hashlib
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.common import files, params
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
    return [_checked(path, Correction(*cells, row=row)) for row, *cells in table[[*COLUMNS]].itertuples()]


def read_table(path: str | Path, needed: Collection[str]) -> pd.DataFrame:
    """Reads a table of texts with the columns `needed`, in lower case; its index counts the rows, the heading being 1.

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
    table = cells.iloc[1:].set_axis(header, axis=1)
    return table.set_axis(table.index + 1)


def write(corrections: Iterable[Correction], path: str | Path) -> None:
    """Replaces data.corrections, with rows sorted by path."""
    rows = sorted((x.path, x.sha256, x.decision, x.label, x.note) for x in corrections)
    text = io.StringIO(newline="")
    pd.DataFrame(rows, columns=[*COLUMNS]).to_csv(text, index=False, lineterminator="\n")
    with files.replacing(table=path) as out:
        out.table.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace", newline="")


def _checked(path: str | Path, row: Correction) -> Correction:
    """Returns a row as it is used: hash and decision in lower case, and a label only where the decision names one."""
    row = Correction(row.path, row.sha256.lower(), row.decision.casefold(), row.label, row.note, row.row)
    problem = ""
    if not row.path and not row.sha256:
        problem = "names no image: give it a path"
    elif row.sha256 and (len(row.sha256) != 64 or not HEXADECIMAL.issuperset(row.sha256)):
        problem = f"has {row.sha256[:70]!r} for a sha256: leave it empty if you do not know it"
    elif row.decision not in DECISIONS:
        problem = f"has the decision {row.decision!r}, but it must be one of {enumeration(DECISIONS)}"
    elif row.names_class and not row.label:
        problem = f"has the decision {row.decision}, but no label: name the class"
    if problem:
        raise UserError(f"{path}: {row} {problem}.")
    return row if row.names_class else Correction(row.path, row.sha256, row.decision, "", row.note, row.row)
