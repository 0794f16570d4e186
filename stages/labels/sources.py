"""Sources of labels: one is chosen, and what it finds is checked."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.decoding import unreadable
from stages.labels import classes, companions, corrections, file_names, files, folders, own_tables, table
from stages.labels.companions import Separated
from stages.labels.corrections import Correction
from stages.labels.files import ImageFile, Labelled

# The sources of labels, each with the condition on which it is used: the first one whose condition holds labels the
# files, and adds the splits and groups that come with them.
SOURCES: list[tuple[Callable[[params.Data], bool], Callable[[Separated, params.Data], Labelled]]] = [
    (lambda data: data.labels != params.NO_LABELS, table.find),
    (lambda data: data.label_pattern != "", file_names.find),
    (lambda data: True, folders.find),
]
LOOKED_INTO = 100  # files that are opened to find out why there are no class folders


def find(data: params.Data, fewest: int = 2, corrected: Sequence[Correction] = ()) -> Labelled:
    """Finds the images of data.images with their classes and, unless data.split is random, their given splits.

    Classes are as given. Images that have none, but a correction that names one, are there with an empty class. Images
    that corrections drop are no faults.

    Raises:
        UserError: there are fewer classes than `fewest`, one whose name is not UTF-8, a given split without labels,
            labels that do not fit the files while data.on_unreadable is error, or labels that are no classes.
    """
    label = next(label for is_used, label in SOURCES if is_used(data))
    found = files.find_files(data.images)
    separated = companions.separate(found, data.images, data.classes)
    try:
        new = {row.label for row in corrected if row.decision == "new_class"}
        correct = partial(_correct, corrected, data)
        labelled = classes.choose(label(separated, data), data.classes, fewest > 1, new, correct)
        images, before = labelled.images, {(file.path, file.problem) for file in found}
        faults = [image for image in images if image.problem and (image.path, image.problem) not in before]
        resolved = _resolve(faults, corrected, data)
        images = [resolved.get(image.path, image) for image in images]
        faults = [image for image in faults if image.path not in resolved]
        if faults and data.on_unreadable == "error":
            raise UserError(
                f"{labelled.source} and {data.images} do not go together in {len(faults)} places; mend them, or set "
                "data.on_unreadable to skip, which leaves them out and lists them: "
                + enumeration([f"{printable(image.path)} ({image.problem})" for image in faults])
            )
        if labelled.has_splits:
            images = [image for image in images if image.split or image.problem]
        classes.check(images, labelled, data, fewest)
    except UserError as error:
        hints = []
        if label == folders.find:
            hints = [*_containers(found, data), *own_tables.find(found, separated.texts, data.images)]
        raise UserError(" ".join([str(error), *(hint.removeprefix("WARNING: ") for hint in hints)])) from None
    notes = [*labelled.notes, *_warn(labelled.images, data)]
    if label == folders.find:
        notes += own_tables.find(found, separated.texts, data.images)
        if empty := files.empty_folders(data.images, found):
            notes.append(f"Folders without any image: {enumeration(list(map(printable, empty)), 5)}.")
    return dataclasses.replace(labelled, images=images, notes=notes)


def list_files(data: params.Data) -> Iterator[str]:
    """Yields the paths of data.corrections and all files that `find` may take something from.

    What `files.walk` ignores is not among them: it may change, because nothing depends on it.
    """
    for root in (data.images, data.labels, data.corrections):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            yield from (str(Path(root, path)) for path, _ in files.walk(root))


def _correct(rows: Sequence[Correction], data: params.Data, images: list[ImageFile]) -> dict[str, str]:
    """Returns the classes that corrections name of images, by path."""
    found = corrections.match_files(rows, images, data)[0] if rows else {}
    return {path: row.label for path, row in found.items() if row.names_class}


def _resolve(faults: list[ImageFile], rows: Sequence[Correction], data: params.Data) -> dict[str, ImageFile]:
    """Returns, by path, images without a usable label that corrections label or drop; the former without a problem."""
    found = corrections.match_files(rows, faults, data)[0] if rows else {}
    named = {path for path, row in found.items() if row.names_class}
    dropped = {path for path, row in found.items() if row.decision == "drop"}
    resolved = {image.path: image for image in faults if image.path in named | dropped}
    return {path: dataclasses.replace(x, problem="") if path in named else x for path, x in resolved.items()}


def _containers(found: list[ImageFile], data: params.Data) -> list[str]:
    """Names a file that holds many images, such as an archive, if there is one among the first files."""
    for file in [file for file in found if not file.problem][:LOOKED_INTO]:
        with open(os.path.join(data.images, file.path), "rb") as content:
            if what := unreadable.container(file.path, content.read(unreadable.HEAD)):
                return [f"{printable(file.path)} is {what}"]
    return []


def _warn(images: list[ImageFile], data: params.Data) -> list[str]:
    """Warns of classes whose names are nearly the same, and of links on the way to images, a line each."""
    warnings = classes.warn(classes.of(images))
    if links := files.linked_folders(data.images, images):
        warnings.append(
            f"WARNING: {enumeration(list(map(printable, links)), 3)} {'is a link' if len(links) == 1 else 'are links'} "
            "to folders, which DVC does not follow: it will not notice when images there change. Then run `dvc repro "
            "-f split`, or put the folders themselves into data.images."
        )
    return warnings
