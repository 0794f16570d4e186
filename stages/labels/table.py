"""Labels from a table: a row per image, with columns for given splits, groups and further facts."""

import collections
import json
import os
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from stages.common import dataset, params
from stages.common.cli import UserError, counted, enumeration, printable
from stages.labels import given_splits, table_columns, table_file
from stages.labels.companions import Separated
from stages.labels.files import ImageFile, Labelled
from stages.labels.matching import FileIndex

SEVERAL_FILES = "is in the table, and fits several files:"
Row = dict[str, str]  # the cells of a row by column


def find(found: Separated, data: params.Data) -> Labelled:
    """Gives files the labels, splits, groups and further columns of data.labels.

    A row without a file or with several, a file without a row or with rows that disagree, and a row without a label or
    split are among the images, each with its problem. With data.on_label_conflict, images whose rows disagree on the
    label are left out, or take the label of most of their rows.

    Raises:
        UserError: the table cannot be read, lacks a column, has a split that is none, or fits no file.
    """
    candidates, alone = [*found.images, *found.made], len(found.images)
    index = FileIndex([file.path for file in candidates], data.images, alone)
    table, notes = _read(data, index)
    rows_of, unmatched = _match(table.to_dict("records"), index, candidates)
    if candidates and not rows_of and not any(problem.startswith(SEVERAL_FILES) for _, problem in unmatched):
        raise UserError(
            f"{data.labels}: no row fits a file of {data.images}: the first row names "
            f"{printable(table['path'].iloc[0])!r}, the first file is {printable(candidates[0].path)!r}. Set "
            "data.columns.path to the column of the paths, which are relative to data.images."
        )
    table_path = os.path.relpath(os.path.realpath(data.labels), os.path.realpath(data.images))
    images = [ImageFile(row["path"] or "(an empty path)", problem=problem) for row, problem in unmatched]
    disagreeing = []
    for place, file in enumerate(candidates):
        row, problem = _merge(rows_of.get(place, []), data.on_label_conflict)
        if row and not problem and not row["label"] and len(rows_of[place]) > 1:
            disagreeing.append(printable(file.path))
        elif row or place < alone and file.path != table_path:  # masks and thumbnails need no row
            images.append(_with_row(file, row, problem))
    if disagreeing:
        count = counted(len(disagreeing), "image")
        notes.append(f"Left out: {count} whose rows disagree on the label, such as {enumeration(disagreeing, 3)}.")
    images.sort(key=lambda image: image.path)
    labelled = Labelled(images, data.labels, notes, has_splits=any(image.split for image in images))
    lost = {text for text in table["label"].unique() if text[:1] not in ("", "[", "{")}
    if lost := lost - {image.class_name for image in images}:
        labelled.notes.append(f"WARNING: no image of {enumeration(sorted(map(repr, lost)), 5)} is used.")
    if not labelled.has_splits:
        return given_splits.add(labelled, given_splits.find(found.images), data)
    given = {image.split for image in images if not image.problem}
    if missing := [name for name in dataset.SPLITS if name not in given]:
        labelled.notes.append(f"{printable(data.labels)} has no split {' and no '.join(missing)}: cut from train.")
    return labelled


def _read(data: params.Data, index: FileIndex) -> tuple[pd.DataFrame, list[str]]:
    """Reads data.labels: texts in the columns of table_columns.select, and what the user should know, a line each.

    The tables in a folder name images from where they lie. The split is train, validation, test or empty, and there
    only if data.split is auto; the group is there again as dataset.GROUP_TEXT.
    """
    if os.path.isdir(data.labels):
        cells, folders = table_file.read_folder(data.labels, data.columns.names, data.columns.path.split("/"))
        table, notes = table_columns.select(cells, data, index)
        table["path"] = [os.path.join(*parts) for parts in zip(folders, table["path"], strict=True)]
    else:
        table, notes = table_columns.select(table_file.read(data.labels, data.columns.names), data, index)
    if "group" in table:
        table[dataset.GROUP_TEXT] = table["group"]
    given = table.pop("split") if "split" in table else pd.Series(dtype=str)
    given = given.mask(given.str.casefold() == "unassigned", "")  # as Vertex AI writes it
    if data.split == "auto" and given.any():
        splits = given_splits.splits_of(given) | {"": ""}
        table["split"] = given.map(splits)
        if unknown := sorted(set(given) - splits.keys()):
            raise UserError(
                f"{data.labels}: {enumeration(list(map(repr, unknown)), 5)} in the column {data.columns.split!r} is no "
                "split: write train, validation or test, or set data.columns.split to another column, or '' for none."
            )
    return table, notes


def _match(
    rows: Sequence[Row], index: FileIndex, candidates: Sequence[ImageFile]
) -> tuple[dict[int, list[Row]], list[tuple[Row, str]]]:
    """Returns the rows of each file, by its place, and those that fit none or several, each with its problem.

    Of rows that fit the same file, those count that name it best.
    """
    matches = [index.find(row["path"]) for row in rows]
    best: dict[int, int] = {}
    for places, parts in matches:
        if len(places) == 1:
            best[places[0]] = max(best.get(places[0], 0), parts)
    rows_of, unmatched = collections.defaultdict(list), []
    for row, (places, parts) in zip(rows, matches, strict=True):
        if len(places) == 1 and parts == best[places[0]]:
            rows_of[places[0]].append(row)
        elif len(places) > 1:
            names = enumeration([printable(candidates[place].path) for place in places], 3)
            unmatched.append((row, f"{SEVERAL_FILES} {names}"))
        else:
            unmatched.append((row, "is in the table, but there is no such file"))
    return rows_of, unmatched


def _merge(rows: Sequence[Row], on_label_conflict: str) -> tuple[Row, str]:
    """Returns what the rows of one file say together, and the problem if they are none or contradict each other.

    With on_label_conflict, the label of rows that disagree is that of most of them ("majority"), or empty.
    """
    if not rows:
        return {}, "has no row in the table"
    if len(rows) == 1:
        return rows[0], ""
    rows = [row for row in rows if row["label"]] or rows  # who gave no label does not disagree
    values = {name: list(dict.fromkeys(row[name] for row in rows)) for name in rows[0]}
    for name in ("split", "group"):
        if len(values.get(name, [])) > 1:
            return rows[0], f"has {len(rows)} rows, which disagree on the {name}: {', '.join(map(repr, values[name]))}"
    merged = {name: texts[0] if len(texts) == 1 else " + ".join(filter(None, texts)) for name, texts in values.items()}
    if len(values["label"]) == 1:
        return merged, ""
    votes = collections.Counter(row["label"] for row in rows).most_common()
    if on_label_conflict == "error":
        named = ", ".join(repr(row["label"]) for row in rows[:4])
        return merged, f"has {len(rows)} rows, which disagree on the label: {named}; data.on_label_conflict decides"
    is_decided = on_label_conflict == "majority" and votes[0][1] > votes[1][1]
    return merged | {"label": votes[0][0] if is_decided else ""}, ""


def _with_row(file: ImageFile, row: Mapping[str, str], problem: str) -> ImageFile:
    """Returns a file with what its row says, or a problem if the row lacks label or split, or has several labels."""
    if problem or file.problem:
        return ImageFile(file.path, problem=file.problem or problem)
    label = row["label"]
    if label[:1] in ("[", "{"):
        label, problem = _from_json(label)
    problem = problem or next((f"has an empty {name}" for name in ("label", "split") if row.get(name) == ""), "")
    columns = {name: text for name, text in row.items() if name not in ("path", "label", "split", "group")}
    return ImageFile(file.path, label, problem, row.get("split", ""), row.get("group", ""), columns)


def _from_json(label: str) -> tuple[str, str]:
    """Returns the one text in a label that is a JSON list or object, and a problem if there are several."""
    try:
        content = json.loads(label)
    except (ValueError, RecursionError):
        if not label.endswith(("]", "}")):
            return label, ""
        content = re.findall(r"[^\s,'\"\[\]{}]+", label)  # a list as Python or NumPy writes it
    while isinstance(content, list | dict) and len(content) == 1:
        [content] = content.values() if isinstance(content, dict) else content
    if isinstance(content, list | dict):
        return "", f"has the labels {label}: {table_columns.SEVERAL}" if content else "has an empty label"
    return str(content), ""
