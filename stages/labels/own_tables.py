"""Tables that lie in a folder of images and name them, while labels come from elsewhere."""

import collections
import os
import posixpath
import shlex
from collections.abc import Collection, Sequence

import pandas as pd

from stages.common.cli import UserError, enumeration, printable
from stages.labels import table_columns, table_file
from stages.labels.files import ImageFile
from stages.labels.matching import FileIndex

MOST = 20  # tables in all that are looked into; of more, such as a text beside each image, none is a table of labels
LARGEST = 50_000_000  # bytes of a table that is looked into
PACKAGE = "datapackage.json"  # what a folder of tables is, by https://specs.frictionlessdata.io
JOIN = "docs/images.md#how-do-i-join-two-tables"


def find(found: Sequence[ImageFile], texts: Collection[str], folder: str) -> list[str]:
    """Says, in a line each, which tables in the folder of images name them, and the settings that use them.

    `texts` are the paths of the texts and tables among the files that were found.
    """
    tables = [path for path in sorted(texts) if table_file.is_table(path) and posixpath.basename(path) != PACKAGE]
    packages = [os.path.join(folder, path) for path in texts if posixpath.basename(path) == PACKAGE]
    for path in [*packages, os.path.join(folder, os.pardir, PACKAGE)]:
        if _is_camera_traps(path):
            where = printable(os.path.normpath(path))
            return [f"WARNING: {where} is of camera traps (Camtrap DP), whose labels are in observations.csv: {JOIN}"]
    if not tables or len(tables) > MOST:
        return []
    index = FileIndex([file.path for file in found if file.path not in texts], folder)
    named = collections.defaultdict(list)
    for path in tables:
        if (settings := _settings(folder, path, index)) is not None:
            named[posixpath.basename(path), settings].append(path)
    lines = []
    for (_, settings), paths in named.items():
        what = f"{enumeration(list(map(printable, paths)), 3)} {'names' if len(paths) == 1 else 'name'} images here"
        labels = shlex.quote(os.path.join(folder, paths[0]) if len(paths) == 1 else folder)
        lines.append(
            f"WARNING: {what}, but no labels are taken from there. To do so: -S data.labels={labels}{settings}"
        )
    return lines


def _is_camera_traps(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"camtrap-dp" in file.read(LARGEST)
    except OSError:
        return False


def _settings(folder: str, path: str, index: FileIndex) -> str | None:
    """Returns the settings for the columns of a table that names files; None if it names none or nothing else."""
    try:
        whole = os.path.join(folder, path)
        cells = table_file.read(whole) if os.path.getsize(whole) <= LARGEST else pd.DataFrame()
    except (OSError, UserError):
        return None
    beside = posixpath.dirname(path)
    if _path_column(cells.iloc[:1], beside, index) is not None:
        names = table_columns.guess_names(cells, index)
        setting = f"data.columns.names=[{','.join(names)}]"
        return f" -S {shlex.quote(setting)}" if "label" in names else None
    if (place := _path_column(cells.iloc[1:], beside, index)) is None:
        return None
    header, settings = list(cells.iloc[0]), ""
    if header[place].casefold() != "path":
        settings = f" -S {shlex.quote(f'data.columns.path={header[place]}')}"
    label = table_columns.label_column(header)
    if label is None and not table_columns.indicators(cells.iloc[1:], {place}):
        if not (others := [printable(name) for name in header if name != header[place]]):
            return None
        return f"{settings} and data.columns.label to one of {enumeration(others, 8)}; labels in another table: {JOIN}"
    if label is None or header[label].casefold() == "label":
        return settings
    return f"{settings} -S {shlex.quote(f'data.columns.label={header[label]}')}"


def _path_column(rows: pd.DataFrame, beside: str, index: FileIndex) -> int | None:
    """Returns the place of the column whose cells name a file each. Numbers alone may be of anything."""
    rows = rows.iloc[: table_columns.SAMPLED]
    texts = [place for place in rows if not rows[place].str.fullmatch(r"[-+.\d]*").all()]
    return table_columns.path_column(rows[texts], index, beside, unique=True)
