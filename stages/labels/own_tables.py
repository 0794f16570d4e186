"""Tables that lie in a folder of images and name them, while labels come from elsewhere."""

import collections
import os
import posixpath
import shlex
from collections.abc import Sequence

import pandas as pd

from stages.common.cli import UserError, enumeration, printable
from stages.labels import table_columns, table_file
from stages.labels.files import ImageFile, is_text
from stages.labels.matching import FileIndex

MOST = 8  # tables in a folder; more of them, such as a text beside each image, are no tables of labels
LARGEST = 50_000_000  # bytes of a table that is looked into


def find(found: Sequence[ImageFile], folder: str) -> list[str]:
    """Says, in a line each, which tables in the folder of images name them, and the settings that use them."""
    images = [file.path for file in found if not is_text(file.path)]
    tables = collections.defaultdict(list)  # from folder
    for file in found:
        if table_file.is_table(file.path) and not file.problem:
            tables[posixpath.dirname(file.path)].append(file.path)
    if not tables:
        return []
    index, found_tables = FileIndex(images, folder), collections.defaultdict(list)
    for paths in tables.values():
        for path in paths if len(paths) <= MOST else []:
            if (settings := _settings(os.path.join(folder, path), index)) is not None:
                found_tables[posixpath.basename(path), settings].append(path)
    lines = []
    for (_, settings), paths in found_tables.items():
        named = f"{enumeration(list(map(printable, paths)), 3)} {'names' if len(paths) == 1 else 'name'} images here"
        labels = shlex.quote(os.path.join(folder, paths[0]) if len(paths) == 1 else folder)
        lines.append(
            f"WARNING: {named}, but no labels are taken from there. To do so: -S data.labels={labels}{settings}"
        )
    return lines


def _settings(path: str, index: FileIndex) -> str | None:
    """Returns the settings for the columns of a table that names files; None if it names none or nothing else."""
    try:
        cells = table_file.read(path) if os.path.getsize(path) <= LARGEST else pd.DataFrame()
    except (OSError, UserError):
        return None
    if table_columns.path_column(cells.iloc[:1], index) is not None:
        names = table_columns.guess_names(cells, index)
        setting = f"data.columns.names=[{','.join(names)}]"
        return f" -S {shlex.quote(setting)}" if "label" in names else None
    if (place := table_columns.path_column(cells.iloc[1:], index)) is None:
        return None
    header, settings = list(cells.iloc[0]), ""
    if header[place].casefold() != "path":
        settings = f" -S {shlex.quote(f'data.columns.path={header[place]}')}"
    label = table_columns.label_column(header)
    if label is None and not table_columns.is_class_per_column(cells.iloc[1:], {place}):
        others = enumeration([printable(name) for name in header if name != header[place]], 8)
        if not others:
            return None
        return (
            f"{settings}, and data.columns.label to one of {others}; if the labels are in another table, see "
            "docs/images.md#labels-in-another-table"
        )
    return (
        settings
        if label is None or header[label].casefold() == "label"
        else (f"{settings} -S {shlex.quote(f'data.columns.label={header[label]}')}")
    )
