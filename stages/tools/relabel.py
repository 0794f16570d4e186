"""Merges corrections of labels into the file that data.corrections names (data/corrections.csv).

    python -m stages.tools.relabel FILE

    FILE             corrections.csv, as plots/review.html saves it, or a table of labels that was
                     edited by hand: a copy of data/audit/labels.csv, whose column label takes the
                     right class of an image (the given one, if that is right), drop or unsure

Edit a copy of data/audit/labels.csv, or run this before anything else: it is an output, which the next `dvc repro`
replaces. Rows without a label are skipped, and notes are kept. A class that the data do not have yet needs new_class in
a column decision, so that a misspelt class makes no new one.

A row replaces the earlier one of the same image. Images are known by their SHA-256, so that they may be moved. Nothing
is written if a row cannot be used.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stages.common import cli, dataset, files, params, result_tables, terminal
from stages.common.cli import UserError, counted, enumeration, printable
from stages.labels import corrections
from stages.labels.corrections import Correction
from stages.reporting import last_commit

APPLIED = f"{dataset.ROOT}/corrections.csv"
NEXT = (
    "Next: `dvc repro` trains with the corrected labels; then `python -m stages.tools.compare` says whether it helped."
)
COMMIT = (
    'The last run is not in git: `git commit -am "Before corrections"` first, so that compare has it to compare with.'
)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("file", metavar="FILE")
    path = parser.parse_args().file
    data = params.read("data").data
    hashes, classes = read_images(), read_classes(data)
    rows = find_images(read(path, classes), hashes, path, data)
    earlier = corrections.read(data.corrections) if os.path.exists(data.corrections) else []
    earlier = [locate(row, hashes, data.images) for row in earlier]
    corrections.check_classes(rows, {*classes, *(x.label for x in earlier if x.decision == "new_class")}, path)
    merged, counts, replaced = merge(earlier, rows, data.images)
    corrections.write(merged, data.corrections)
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    lines = [f"{data.corrections}: {counted(len(merged), 'correction')} ({said})."]
    if replaced:
        lines.append(f"Replaced: {enumeration(replaced, corrections.NAMED)}.")
    if nowhere := [str(row) for row in rows if not row.sha256]:
        fits, changes = ("fits", "changes") if len(nowhere) == 1 else ("fit", "change")
        named = enumeration(nowhere, corrections.NAMED)
        lines.append(f"WARNING: {named} {fits} no image of {printable(data.images)}, and {changes} nothing.")
    terminal.show(*lines, *([] if is_committed() else [COMMIT]), NEXT)


def is_committed() -> bool:
    """Returns whether the last commit has the last run, or there is no git or no run to be committed."""
    committed, lock = last_commit.read("dvc.lock"), Path("dvc.lock")
    return committed is None or not lock.exists() or committed == lock.read_text(encoding="utf-8", errors="replace")


def read(path: str, classes: Iterable[str]) -> list[Correction]:
    """Reads corrections from a table: with the columns of corrections, or with path, label and perhaps others of them.

    Raises:
        UserError: the file is no such table, or a row says nothing that can be done.
    """
    table = corrections.read_table(path, ["path", "label"])
    table = table.assign(**{name: "" for name in corrections.COLUMNS if name not in table})
    rows = []
    for row, cells in zip(table.index, table.to_dict("records"), strict=True):
        word, others = cells["label"].casefold(), ("drop", "unsure")
        if not cells["decision"] and word:
            cells["decision"] = word if word in others and cells["label"] not in classes else "label"
        if cells["decision"]:
            rows.append(corrections.parse(path, cells, row))
    if not rows:
        raise UserError(f"{path} has no row with a label or a decision, so nothing is corrected. Fill in some.")
    return rows


def read_images() -> dict[str, str]:
    """Returns the SHA-256 of the images of the last split by path, as tables for people write it."""
    tables = [f"{dataset.ROOT}/{name}/manifest.csv" for name in dataset.SPLITS]
    hashes: dict[str, str] = {}
    for path in (*tables, APPLIED):
        if os.path.exists(path):
            table = files.read_csv(path, "backslashreplace", {"path": str, "sha256": str})
            hashes |= dict(zip(table["path"], table["sha256"], strict=True))
    return hashes


def read_classes(data: params.Data) -> set[str]:
    """Returns the classes that the data are known to have, by the last split and data.classes."""
    classes = {*data.classes}
    if os.path.exists(dataset.CLASSES):
        classes |= {*files.read_json(dataset.CLASSES)}
    if os.path.exists(APPLIED):
        classes |= {*result_tables.read(APPLIED)["given"]} - {""}
    if not classes:
        raise UserError(f"{dataset.CLASSES} is missing: run `dvc repro split` first.")
    return classes


def find_images(rows: Sequence[Correction], hashes: dict[str, str], path: str, data: params.Data) -> list[Correction]:
    """Returns the rows of the file `path` with the SHA-256 of their images, one for each image.

    Raises:
        UserError: rows fit no image, or disagree on one.
    """
    known, missing, conflicts = {*hashes.values()}, [], []
    found: dict[tuple[str, str], Correction] = {}
    for row in rows:
        row = locate(row, hashes, data.images)
        file = os.path.join(data.images, row.path)
        row = dataclasses.replace(row, sha256=row.sha256 or hashes.get(row.path) or corrections.sha256_of(file))
        is_below = row.path.split("/")[0] != ".." and os.path.isfile(file)
        if row.names_class and row.sha256 not in known and not is_below:
            missing.append(str(row))
        elif found.setdefault((row.path, row.sha256), row).meaning != row.meaning:
            conflicts.append(f"{found[row.path, row.sha256]} and {row}")
    if missing:
        raise UserError(
            f"{path}: {enumeration(missing, corrections.NAMED)} {'fits' if len(missing) == 1 else 'fit'} no image of "
            f"{printable(data.images)}, neither by path nor by sha256. Paths are relative to data.images."
        )
    if conflicts:
        raise UserError(f"{path}: {enumeration(conflicts, corrections.NAMED)} disagree: keep one of each image.")
    return [*found.values()]


def locate(row: Correction, hashes: Mapping[str, str], folder: str) -> Correction:
    """Returns a row whose path is as split writes it, if the row has that of Windows or one from elsewhere."""
    path = os.path.relpath(os.path.join(folder, row.path.replace("\\", "/")), folder)
    if row.path in hashes or not os.path.isfile(os.path.join(folder, path)):
        return row
    return dataclasses.replace(row, path=path)


def merge(
    earlier: Sequence[Correction], rows: Sequence[Correction], folder: str
) -> tuple[list[Correction], dict[str, int], list[str]]:
    """Returns earlier corrections and new ones, which replace those of the same images; the numbers of new ones by
    outcome; and which decisions are replaced by which, in words.

    Two are of the same image if they have the same path; or the same SHA-256, and the file of the earlier one is gone.
    """
    before: dict[str, list[Correction]] = collections.defaultdict(list)  # by path, or by the hash of what is gone
    for row in earlier:
        is_here = os.path.isfile(os.path.join(folder, row.path))
        for key in {row.path, "" if is_here else row.sha256} - {""}:
            before[key].append(row)
    counts, replaced, texts = {"new": 0, "replaced": 0, "the same": 0}, set(), []
    for row in rows:
        same = [x for key in {row.path, row.sha256} - {""} for x in before.get(key, [])]
        replaced |= {*same}
        is_new_text = any((x.meaning, x.note) != (row.meaning, row.note) for x in same)
        was = ", ".join(sorted({in_words(x) for x in same if x.meaning != row.meaning}))
        texts += [f"{printable(row.path or row.sha256)}: {was} -> {in_words(row)}"] if was else []
        counts["replaced" if is_new_text else "the same" if same else "new"] += 1
    return [*(row for row in earlier if row not in replaced), *rows], counts, texts


def in_words(row: Correction) -> str:
    """Returns what a row decides: its class, or drop or unsure."""
    return repr(row.label) if row.names_class else row.decision


if __name__ == "__main__":
    cli.run(main)
