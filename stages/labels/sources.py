"""Labels, given splits and groups of image files: from sub-folders, file names or a table."""

import dataclasses
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from stages.common import params
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS
from stages.labels import files, given_splits, table
from stages.labels.files import ANNEX, PLACEHOLDER, SPECIAL_FILES, ImageFile
from stages.labels.given_splits import Layout


def find_images(data: params.Data) -> tuple[list[ImageFile], list[str]]:
    """Finds the images of data.images with their classes and, unless data.split is random, the splits they come with.

    Args:
        data: the group `data` of params.yaml.

    Returns:
        (list of ImageFile, list of str): sorted by path, those that cannot be used among them with their problem; and
        what the user should know about them, a line each.

    Raises:
        UserError: there are fewer than two classes, one whose name is not UTF-8, a given split without labels, or
            labels that do not fit the files while data.on_unreadable is error.
    """
    found, texts = _without_texts(files.find_files(data.images))
    layout = given_splits.find([file.path for file in found])
    if data.labels != params.NO_LABELS:
        images, faults = table.apply(found, data)
        source = data.labels
    elif data.label_pattern:
        images, faults = _by_name(found, data)
        source = "data.label_pattern"
    else:
        images, faults = _by_folder(found, layout, data), []
        source = ""
    if faults and data.on_unreadable == "error":
        raise UserError(
            f"{source} and {data.images} do not go together in {len(faults)} places; mend them, or set "
            f"data.on_unreadable to skip, which lists them in data/splits/unreadable.csv: {enumeration(faults)}"
        )
    divided = _with_splits(found, images, layout, data)
    notes = _notes(images, {image.split for image in divided if not image.problem}, layout, texts, data)
    _check_classes({image.class_name for image in divided if image.class_name}, data.images, source)
    return divided, notes


def _without_texts(files: list[ImageFile]) -> tuple[list[ImageFile], list[str]]:
    """Returns the files but for folders of tables and notes alone, such as labels or annotations; and these folders."""
    folders = [os.path.dirname(file.path) for file in files]
    kept = {folder for file, folder in zip(files, folders, strict=True) if not table.is_text(file.path)} | {""}
    return [file for file, folder in zip(files, folders, strict=True) if folder in kept], sorted({*folders} - kept)


def _by_folder(files: list[ImageFile], layout: Layout, data: params.Data) -> list[ImageFile]:
    """Returns the images that lie in a class folder. What cannot be opened might be one."""
    given_splits.refuse_other_splits(layout)
    if layout.folders and data.split == "auto":
        given_splits.require_labels(layout, data.images)
    images = []
    for file, inner in zip(files, layout.inner, strict=True):
        if "/" in inner or file.problem not in {"", PLACEHOLDER, ANNEX, *SPECIAL_FILES.values()}:
            images.append(ImageFile(file.path, inner.split("/")[0] or file.path, file.problem))
    return images


def _by_name(files: list[ImageFile], data: params.Data) -> tuple[list[ImageFile], list[str]]:
    """Returns the images with the classes that data.label_pattern finds in their names, and what it does not fit."""
    images, faults = [], []
    for file in files:
        match = re.search(data.label_pattern, PurePosixPath(file.path).name)
        name = (match[1] or "").strip() if match else ""
        if not name and table.is_text(file.path):
            continue
        problem = file.problem or ("" if name else "data.label_pattern does not fit its name")
        if not name and not file.problem:
            faults.append(f"{printable(file.path)} ({problem})")
        images.append(dataclasses.replace(file, class_name=name, problem=problem))
    if not any(image.class_name for image in images):
        example = f", such as {printable(PurePosixPath(images[0].path).name)}" if images else ""
        raise UserError(
            f"data.label_pattern {printable(data.label_pattern)} fits no file of {data.images}{example}. In "
            r"cat_12.jpg, ^(.+)_\d+ finds the class cat; names are searched, without their folders."
        )
    return images, faults


def _with_splits(files: list[ImageFile], images: list[ImageFile], layout: Layout, data: params.Data) -> list[ImageFile]:
    """Adds the splits of folders, unless a table gives them. Images beside the folders of given splits are left out."""
    if data.split == "random":
        return [dataclasses.replace(image, split="") for image in images]
    if not layout.folders or any(image.split for image in images):
        return images
    splits = dict(zip((file.path for file in files), layout.splits, strict=True))
    given = [dataclasses.replace(image, split=splits.get(image.path, "")) for image in images]
    return [image for image in given if image.split or image.problem]


def _notes(images: list[ImageFile], given: set[str], layout: Layout, texts: list[str], data: params.Data) -> list[str]:
    """Says what the user should know, a line each; `given` are the splits of the images that can be used."""
    notes = []
    of_table = any(image.split for image in images)
    by_folder = data.labels == params.NO_LABELS and not data.label_pattern
    if texts and by_folder:
        notes.append(
            f"No images, but tables or texts: {enumeration(list(map(printable, texts)), 3)}. They are left out."
        )
    if layout.root and by_folder:
        notes.append(f"All images lie in {printable(layout.root)}, whose sub-folders count.")
    if layout.folders and data.split == "auto" and not of_table:
        notes.append(given_splits.describe(layout, given))
    if layout.folders and data.split == "random" and by_folder:
        left_out = sum("/" not in inner for inner in layout.inner)
        splits = ", ".join(map(printable, sorted(layout.folders)))
        notes.append(
            f"The splits {splits} are divided anew, because data.split is random"
            + (f"; {left_out} files outside of class folders are left out." if left_out else ".")
        )
    if of_table and (missing := [name for name in SPLITS if name not in given]):
        notes.append(f"{printable(data.labels)} has no split {' and no '.join(missing)}: cut from train.")
    classes = sorted({image.class_name for image in images if image.class_name})
    if by_folder and (alike := sorted(given_splits.splits_of(classes))):
        notes.append(f"WARNING: {enumeration(list(map(repr, alike)))} is a class here, but named like a split.")
    for names in _differing_little(classes):
        notes.append(
            f"WARNING: the classes {' and '.join(map(ascii, names))} differ only by case, Unicode form or blanks. "
            "If they are the same, give them one name."
        )
    if links := files.linked_folders(data.images, images):
        notes.append(
            f"WARNING: {enumeration(list(map(printable, links)), 3)} {'is a link' if len(links) == 1 else 'are links'} "
            "to folders, which DVC does not follow: it will not notice when images there change. Then run `dvc repro "
            "-f split`, or put the folders themselves into data.images."
        )
    return notes


def _differing_little(classes: Iterable[str]) -> list[list[str]]:
    """Returns names that are the same but for case, Unicode form and surrounding blanks, several in each list."""
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [names for names in same.values() if len(names) > 1]


def _check_classes(classes: set[str], folder: str, source: str) -> None:
    if len(classes) < 2:
        found = f"only {min(classes)!r}" if classes else "none"
        if source:
            raise UserError(f"{source} must give the images of {folder} at least two classes, but has {found}.")
        raise UserError(
            f"{folder} needs at least two sub-folders with images in them, one per class, but has {found}. Labels in a "
            "table go into data.labels."
        )
    for name in sorted(classes):
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"{source or folder} has a class {name!r}: the name of a class must be UTF-8. Rename it.")
