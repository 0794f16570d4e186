"""Companions: files that lie beside images and are none of their own, such as masks, thumbnails, texts and tables."""

import collections
import os
import posixpath
import re
from collections.abc import Iterable

from stages.common.cli import counted, enumeration, printable
from stages.decoding import decode
from stages.labels.files import ImageFile, is_text

HEAD = 32  # bytes by which an image is known
# Words for what is computed or drawn from an image, at the end or start of a file's name, and names of folders of such.
MADE = "masks?|segm?|segmentations?|gt|ground_?truth|labels?|annotations?|trimaps?|mattes?|depth|heatmaps?|overlays?"
MADE += "|thumb(nail)?s?|previews?"
SUFFIX = re.compile(rf"(?P<image>.+?)[ _.-]+({MADE})([ _.-]*\d+)?", re.IGNORECASE)
PREFIX = re.compile(rf"({MADE})[ _.-]+(?P<image>.+)", re.IGNORECASE)
# Folders that hold images; "mask" beside "no mask" are classes.
PLAIN = "images?|imgs?|jpegimages|photos?|pictures?|rgb|originals?|frames?|inputs?|train|val|valid|validation|test"
IMAGES = re.compile(rf"({PLAIN})", re.IGNORECASE)
FOLDER = re.compile(rf"(({PLAIN})[ _.-]?)?({MADE}|segmentation(class|object))([ _.-]?png)?", re.IGNORECASE)
# What cameras make of their videos; and the libraries of Photos, iPhoto and Aperture of images in originals or Masters.
PREVIEW = re.compile(
    r".*\.thm|(.*/)?[^/]+\.(photoslibrary|photolibrary|aplibrary|migratedphotolibrary)/(?!(originals|masters)/).*"
    r"|(.*/)?[^/]+\.lrdata/.*",
    re.IGNORECASE,
)


def separate(found: list[ImageFile], folder: str) -> tuple[list[ImageFile], list[str]]:
    """Returns the files that are images of their own, and what is said of those that are left out, a line each.

    Left out are texts and tables; previews; and what is named like an image and a word of MADE: a file beside the image
    (1_mask.png and 1.jpg), or one in a folder of such that lies in or beside a folder of the images (masks/1.png and
    images/1.jpg). `folder` is data.images.
    """
    folders = {file.path: posixpath.dirname(file.path) for file in found}
    texts = find_texts(found, folder)
    images = [file.path for file in found if file.path not in texts]
    with_images = {folders[path] for path in images} | {""}
    only_texts = {folders[path] for path in texts} - with_images
    beside = sorted(path for path in texts if folders[path] in with_images - {""})
    base = posixpath.basename(posixpath.normpath(folder))
    previews = [path for path in images if PREVIEW.fullmatch(f"{base}/{path}")]
    made = _made_from_images(images)
    notes = []
    if only_texts:
        notes.append(f"No images, but tables or texts: {_listed(sorted(only_texts))}. They are left out.")
    if beside:
        notes.append(
            f"Left out: {counted(len(beside), 'text or table', 'texts or tables')} beside images, such as "
            f"{_listed(beside)}."
        )
    if previews:
        notes.append(
            f"WARNING: left out: {counted(len(previews), 'preview')} of cameras or photo libraries, such as "
            f"{_listed(previews)}."
        )
    if made:
        pairs = [f"{printable(path)} of {printable(image)}" for path, image in sorted(made.items())]
        notes.append(
            f"WARNING: left out: {counted(len(pairs), 'file')} that by their names are made from other images, such as "
            f"{enumeration(pairs, 2)}. Rename them if they are images of their own."
        )
    left_out = {*texts, *previews, *made}
    return [file for file in found if file.path not in left_out], notes


def find_texts(found: Iterable[ImageFile], folder: str) -> set[str]:
    """Returns the paths of texts and tables."""
    return {file.path for file in found if is_text_file(os.path.join(folder, file.path))}


def is_text_file(path: str) -> bool:
    """Tells whether a file is a text or a table: by its extension, unless it begins as an image does."""
    if not is_text(path):
        return False
    try:
        with open(path, "rb") as file:
            return not decode.is_known(file.read(HEAD))
    except OSError:
        return True


def _made_from_images(paths: Iterable[str]) -> dict[str, str]:
    """Returns masks, thumbnails and the like, each with an image that it is made from."""
    folders: dict[str, dict[str, str]] = collections.defaultdict(dict)  # from folder to stem to path
    for path in paths:
        folder, name = posixpath.split(path)
        folders[folder][posixpath.splitext(name)[0].casefold()] = path
    made: dict[str, str] = {}
    for folder, files in folders.items():
        made |= {path: files[image] for stem, path in files.items() for image in _originals(stem) if image in files}
        for other in _folders_of_images(folder, folders):
            images = folders[other]
            pairs = {
                path: images[image]
                for stem, path in files.items()
                for image in (stem, *_originals(stem))
                if image in images
            }
            if 2 * len(pairs) >= len(files):  # the others' images may be missing
                made |= dict.fromkeys(files.values(), next(iter(pairs.values()))) | pairs
    return made


def _originals(stem: str) -> list[str]:
    """Returns the stems of the images that a file of this stem may be made from."""
    return [match["image"] for pattern in (SUFFIX, PREFIX) if (match := pattern.fullmatch(stem))]


def _folders_of_images(folder: str, folders: Iterable[str]) -> list[str]:
    """Returns the folders with images that those in `folder` may be made from: above it, or beside it."""
    parts = folder.split("/")
    found = set()
    for place, part in enumerate(parts):
        if FOLDER.fullmatch(part):
            above, below = parts[:place], parts[place + 1 :]
            for path in folders:
                other = path.split("/")
                is_beside = other[:place] == above and other[place + 1 :] == below
                if other == above + below or is_beside and IMAGES.fullmatch("".join(other[place : place + 1])):
                    found.add(path)
    return sorted(found - {folder})


def _listed(paths: list[str]) -> str:
    return enumeration(list(map(printable, paths)), 3)
