"""Columns of a table of labels: which one is what, by data.columns and by what is in them."""

import posixpath
from collections.abc import Sequence

import pandas as pd

from stages.common import dataset, params
from stages.common.cli import UserError, counted, enumeration, printable
from stages.labels import given_splits
from stages.labels.matching import FileIndex

# Names that further columns cannot keep: those of manifests, and those that manifests have while `split` runs.
RESERVED = {*dataset.COLUMNS, "split", "pixels", "pixel_hash", "blank", dataset.GROUP_TEXT}
RESERVED |= {"pattern_group", "roboflow_image"}
ONE, ZERO = {"1", "1.0", "True", "true"}, {"0", "0.0", "False", "false"}
# Names of columns of labels in tables of others, in lower case.
LABELS = ["label", "labels", "class", "classes", "class_name", "classname", "category", "choice", "species", "tag"]
LABELS += ["target", "scientificname", "diagnosis", "dx", "breed", "ground_truth.label"]
NAMING = 0.8  # fraction of the rows of a column that name files, if it is the column of paths
SAMPLED = 100  # rows by which it is found out what a column holds
SEVERAL = "one class per image; several labels are not supported"


def select(cells: pd.DataFrame, data: params.Data, index: FileIndex) -> tuple[pd.DataFrame, list[str]]:
    """Returns path, label, split and group of a table, and its further columns under names that manifests have.

    `cells` are texts, with the names of the columns in the first row. Columns without a name, such as the index that
    pandas writes, are left out. The case of a name counts only if the table has it in several. Several columns make a
    path; several with a single 1 in each row make a label, which is the name of the column with the 1. The second value
    is what the user should know, a line each.

    Raises:
        UserError: a column is missing, or there are several of its name, or one is used twice; or rows have a 1 in
            several columns of classes.
    """
    header, rows = list(cells.iloc[0]), cells.iloc[1:]
    columns, defaults = data.columns.model_dump(exclude={"names"}), params.Columns().model_dump()
    used: dict[int, str] = {}
    places: dict[str, list[int]] = {}
    for name in ("path", "split", "group", "label"):  # what is none of the others may be a class
        own, several = columns[name], name in ("path", "label")
        found = _places(header, own, several, data)
        if not found and name == "label" and own == defaults[name] and label_column(header) is None:
            found = indicators(rows, set(used))
        if not found and (several or own not in ("", defaults[name])):
            raise UserError(f"{data.labels} {_missing(name, own, cells, index)}")
        for place in found:
            if place in used:
                one, other = sorted((used[place], name), key=list(columns).index)
                raise UserError(
                    f"data.columns.{one} and data.columns.{other} are both the column {header[place]!r} of "
                    f"{data.labels}: set one of them to another; split and group can be '', which is none."
                )
            used[place] = name
        places[name] = found
    paths = [rows[place].str.replace("\\", "/", regex=False).str.strip("/") for place in places["path"][:-1]]
    last = rows[places["path"][-1]]
    table = pd.DataFrame({"path": last if not paths else paths[0].str.cat([*paths[1:], last], sep="/")})
    table["label"], notes = _labels(rows, header, places["label"], table["path"], data)
    for name in ("split", "group"):
        if places[name]:
            table[name] = rows[places[name][0]]
    further = {}
    for place, name in enumerate(header):
        if place not in used and name and not name.startswith("Unnamed: "):
            while name in RESERVED or name in further or name in table:
                name = f"table_{name}"
            further[name] = rows[place]
    return pd.concat([table, pd.DataFrame(further)], axis=1), notes


def path_column(rows: pd.DataFrame, index: FileIndex, beside: str = "", unique: bool = False) -> int | None:
    """Returns the place of the column whose cells name files; None if none does in most of its rows.

    Paths begin at the folder `beside`; if they are to be `unique`, a cell that fits several files names none.
    """

    def names_file(cell: str) -> bool:
        count = len(index.find(posixpath.join(beside, cell))[0])
        return count == 1 or count > 1 and not unique

    fits = rows.iloc[:SAMPLED].map(names_file).mean()
    return int(fits.idxmax()) if len(fits) and fits.max() >= NAMING else None


def label_column(header: Sequence[str]) -> int | None:
    """Returns the place of the column that by its name is the label; None if there is none."""
    known = [place for place, name in enumerate(header) if name.casefold() in LABELS]
    return min(known, key=lambda place: LABELS.index(header[place].casefold()), default=None)


def indicators(rows: pd.DataFrame, used: set[int]) -> list[int]:
    """Returns the places of the columns that hold nothing but 0 and 1, if there are several: a class each."""
    places = [place for place in rows if place not in used and rows[place].isin(ONE | ZERO).all()]
    return places if len(places) > 1 else []


def guess_names(rows: pd.DataFrame, index: FileIndex) -> list[str]:
    """Returns names for the columns of a table without a header: path, split, label, and numbers for others."""
    path, names = path_column(rows, index), [f"column{place + 1}" for place in range(rows.shape[1])]
    for place in range(rows.shape[1]):
        values = set(rows[place]) - {""}
        if place == path:
            names[place] = "path"
        elif "split" not in names and values and values <= given_splits.splits_of(values).keys():
            names[place] = "split"
        elif "label" not in names and len(values) <= len(rows) / 2:
            names[place] = "label"
    return names


def _places(header: Sequence[str], own: str, several: bool, data: params.Data) -> list[int]:
    """Returns the places of the column `own`, or of those that it names between slashes; none if one is missing."""
    same = [place for place, name in enumerate(header) if name == own != ""]
    same = same or [place for place, name in enumerate(header) if name.casefold() == own.casefold() != ""]
    if len(same) > 1:
        raise UserError(f"{data.labels} has {len(same)} columns {own!r}: rename all but one.")
    if same or not several or "/" not in own:
        return same
    parts = [_places(header, part, False, data) for part in own.split("/")]
    return [place for [place] in parts] if all(parts) else []


def _labels(
    rows: pd.DataFrame, header: Sequence[str], places: list[int], paths: pd.Series, data: params.Data
) -> tuple[pd.Series, list[str]]:
    """Returns the label of each row, empty without one, from a column of labels or several of classes; and notes."""
    names = [header[place] for place in places]
    if len(places) == 1:
        others = [header[place] for place in indicators(rows, set()) if header[place] not in names]
        if rows[places[0]].isin(ONE | ZERO).all() and len(others) > 1:
            return rows[places[0]], [
                f"WARNING: the classes are the values of the column {printable(names[0])!r}, which holds 0 and 1 like "
                f"{enumeration(list(map(printable, others)), 5)}. If each of these columns is a class, set "
                f"data.columns.label to {'/'.join(map(printable, sorted([*names, *others], key=header.index)))}."
            ]
        return rows[places[0]], []
    marked = rows[places].isin(ONE)
    if (several := marked.sum(axis=1) > 1).any():
        row = several.idxmax()
        raise UserError(
            f"{data.labels}: {counted(int(several.sum()), 'row has', 'rows have')} a 1 in several of the columns "
            f"{enumeration(list(map(printable, names)))}, such as {printable(paths[row])}: {SEVERAL}. If only some of "
            "these columns are classes, set data.columns.label to them, such as cat/dog."
        )
    notes = [f"The classes are the columns {enumeration(list(map(printable, names)))}, by the 1 in each row."]
    if unused := [header[place] for place in places if not marked[place].any()]:
        notes.append(f"No row is of the class {enumeration(list(map(printable, unused)))}.")
    return marked.idxmax(axis=1).map(dict(zip(places, names, strict=True))).where(marked.any(axis=1), ""), notes


def _missing(name: str, own: str, cells: pd.DataFrame, index: FileIndex) -> str:
    """Says that a column is missing, and what to do."""
    header, first = [printable(text) for text in cells.iloc[0]], cells.iloc[:1]
    if name in ("path", "label") and path_column(first, index) is not None:
        names = ",".join(guess_names(cells, index))
        return (
            f"has no header: its first line is {enumeration(header)}. Set data.columns.names to the names of its "
            f"columns, such as [{names}]."
        )
    place = path_column(cells.iloc[1:], index) if name == "path" else label_column(cells.iloc[0])
    advice = "one of them" if place is None else f"{header[place]!r}{', which names files' if name == 'path' else ''}"
    return (
        f"has no column {own!r}, but {enumeration(header)}: set data.columns.{name} to {advice}. The first line names "
        "the columns; labels are names in one column, or each class has a column, with a single 1 in each row."
    )
