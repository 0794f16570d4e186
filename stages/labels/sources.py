"""Sources of labels: one is chosen, and what it finds is checked."""

import dataclasses
import unicodedata
from collections.abc import Callable, Iterable

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.labels import file_names, files, folders, table
from stages.labels.files import ImageFile, Labelled

# The sources of labels, each with the condition on which it is used: the first one whose condition holds labels the
# files, and adds the splits and groups that come with them.
SOURCES: list[tuple[Callable[[params.Data], bool], Callable[[list[ImageFile], params.Data], Labelled]]] = [
    (lambda data: data.labels != params.NO_LABELS, table.find),
    (lambda data: data.label_pattern != "", file_names.find),
    (lambda data: True, folders.find),
]


def find(data: params.Data, fewest: int = 2) -> Labelled:
    """Finds the images of data.images with their classes and, unless data.split is random, their given splits.

    Raises:
        UserError: there are fewer classes than `fewest`, one whose name is not UTF-8, a given split without labels, or
            labels that do not fit the files while data.on_unreadable is error.
    """
    label = next(label for is_used, label in SOURCES if is_used(data))
    found = files.find_files(data.images)
    labelled = label(found, data)
    images, before = labelled.images, {(file.path, file.problem) for file in found}
    faults = [image for image in images if image.problem and (image.path, image.problem) not in before]
    if faults and data.on_unreadable == "error":
        raise UserError(
            f"{labelled.source} and {data.images} do not go together in {len(faults)} places; mend them, or set "
            "data.on_unreadable to skip, which leaves them out and lists them: "
            + enumeration([f"{printable(image.path)} ({image.problem})" for image in faults])
        )
    if labelled.has_splits:
        images = [image for image in images if image.split or image.problem]
    _check_classes(_classes(images), data.images, labelled.source, fewest)
    notes = [*labelled.notes, *_warn(labelled.images, data.images)]
    return dataclasses.replace(labelled, images=images, notes=notes)


def _classes(images: Iterable[ImageFile]) -> list[str]:
    return sorted({image.class_name for image in images if image.class_name})


def _check_classes(classes: list[str], folder: str, source: str, fewest: int) -> None:
    if len(classes) < fewest:
        found = f"only {classes[0]!r}" if classes else "none"
        if source:
            raise UserError(f"{source} must give the images of {folder} at least two classes, but has {found}.")
        raise UserError(
            f"{folder} needs at least two sub-folders with images in them, one per class, but has {found}. Labels in a "
            "table go into data.labels."
        )
    for name in classes:
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"{source or folder} has a class {name!r}: the name of a class must be UTF-8. Rename it.")


def _warn(images: list[ImageFile], folder: str) -> list[str]:
    """Warns of classes whose names are nearly the same, and of links on the way to images, a line each."""
    same: dict[str, list[str]] = {}
    for name in _classes(images):
        same.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    warnings = [
        f"WARNING: the classes {' and '.join(map(ascii, names))} differ only by case, Unicode form or blanks. "
        "If they are the same, give them one name."
        for names in same.values()
        if len(names) > 1
    ]
    if links := files.linked_folders(folder, images):
        warnings.append(
            f"WARNING: {enumeration(list(map(printable, links)), 3)} {'is a link' if len(links) == 1 else 'are links'} "
            "to folders, which DVC does not follow: it will not notice when images there change. Then run `dvc repro "
            "-f split`, or put the folders themselves into data.images."
        )
    return warnings
