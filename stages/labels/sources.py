"""Sources of labels: one is chosen, and what it finds is checked."""

import dataclasses
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.labels import files, folders, names, table
from stages.labels.files import ImageFile, Labelled


class Source(Protocol):
    """A module that finds labels."""

    def is_set(self, data: params.Data) -> bool:
        """Tells whether the parameters ask for this source."""

    def find(self, found: list[ImageFile], data: params.Data) -> Labelled:
        """Gives the files of data.images their labels, and the splits and groups that come with them."""


SOURCES: tuple[Source, ...] = (table, names, folders)  # the first one that is set is used


def find(data: params.Data) -> Labelled:
    """Finds the images of data.images with their classes and, unless data.split is random, their given splits.

    Raises:
        UserError: there are fewer than two classes, one whose name is not UTF-8, a given split without labels, or
            labels that do not fit the files while data.on_unreadable is error.
    """
    source = next(source for source in SOURCES if source.is_set(data))
    labelled = source.find(files.find_files(data.images), data)
    if labelled.faults and data.on_unreadable == "error":
        raise UserError(
            f"{labelled.source} and {data.images} do not go together in {len(labelled.faults)} places; mend them, or "
            "set data.on_unreadable to skip, which lists them in data/splits/unreadable.csv: "
            f"{enumeration(labelled.faults)}"
        )
    images = labelled.images
    if labelled.has_splits:
        images = [image for image in images if image.split or image.problem]
    _check_classes(_classes(images), data.images, labelled.source)
    notes = [*labelled.notes, *_warn_of_names(_classes(labelled.images)), *_warn_of_links(labelled.images, data.images)]
    return dataclasses.replace(labelled, images=images, notes=notes)


def _classes(images: Iterable[ImageFile]) -> list[str]:
    return sorted({image.class_name for image in images if image.class_name})


def _check_classes(classes: list[str], folder: str, source: str) -> None:
    if len(classes) < 2:
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


def _warn_of_names(classes: list[str]) -> list[str]:
    """Returns a warning for each set of classes whose names are nearly the same."""
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [
        f"WARNING: the classes {' and '.join(map(ascii, names))} differ only by case, Unicode form or blanks. "
        "If they are the same, give them one name."
        for names in same.values()
        if len(names) > 1
    ]


def _warn_of_links(images: list[ImageFile], folder: str) -> list[str]:
    """Returns a warning if folders on the way to images are symbolic links."""
    links = files.linked_folders(folder, images)
    if not links:
        return []
    return [
        f"WARNING: {enumeration(list(map(printable, links)), 3)} {'is a link' if len(links) == 1 else 'are links'} "
        "to folders, which DVC does not follow: it will not notice when images there change. Then run `dvc repro "
        "-f split`, or put the folders themselves into data.images."
    ]
