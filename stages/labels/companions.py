"""Companions: files that lie beside images and are none of their own, such as masks, thumbnails, texts and tables."""

import collections
import os
import posixpath
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from stages.common import machine
from stages.common.cli import counted, enumeration, printable
from stages.decoding import decode
from stages.labels.files import ImageFile, is_text

HEAD = 32  # bytes by which an image is known
# Words for what is computed or drawn from an image, for the image itself, and for splits, in names.
MASK = r"masks?|segm?|segmentations?|segmentation(class|object)|trimaps?|mattes?"
MADE = rf"{MASK}|gt|gt(fine|coarse)|groundtruth|labels?|(label|instance)(train)?ids|annotations?|depth|semantic"
MADE += r"|heatmaps?|overlays?|thumb(nail)?s?|tn|previews?"
IMAGE = r"images?|imgs?|jpegimages|leftimg8bit|photos?|pictures?|rgb|originals?|inputs?|frames?|jpe?g|png|tiff?"
SPLIT = r"train|val|valid|validation|test|stage1"
# A word that no other letters touch; a size stands for a thumbnail, at the end.
MADE_WORD = re.compile(rf"(?<![a-z])({MADE})(?![a-z])|(?<=[-_])\d{{2,4}}x\d{{2,4}}$")
IMAGE_WORD = re.compile(rf"(?<![a-z])({IMAGE})(?![a-z])")
MASK_WORDS, MADE_WORDS, IMAGE_WORDS, SPLIT_WORDS = (re.compile(words) for words in (MASK, MADE, IMAGE, SPLIT))
# What cameras make of their videos; and the libraries of Photos, iPhoto and Aperture of images in originals or Masters.
PREVIEW = re.compile(
    r".*\.thm|(.*/)?[^/]+\.(photoslibrary|photolibrary|aplibrary|migratedphotolibrary)/(?!(originals|masters)/).*"
    r"|(.*/)?[^/]+\.lrdata/.*|(.*/)?ipod photo cache/.*",
    re.IGNORECASE,
)


class Separated(NamedTuple):
    """The files of a folder of images: images of their own, what is left out, and what is said of it, a line each."""

    images: list[ImageFile]
    made: list[ImageFile]  # previews, and what is made from images
    texts: set[str]  # the paths of texts and tables
    notes: list[str]


def separate(found: list[ImageFile], folder: str, classes: Collection[str] = ()) -> Separated:
    """Separates images from their companions.

    Left out are texts and tables; previews; and what is named like an image and a word for what is made from one: a
    file beside the image (1_mask.png and 1.jpg), or one in a folder of such (masks/1.png and images/1.jpg). `folder` is
    data.images; folders with a name in `classes` are none of such.
    """
    folders = {file.path: posixpath.dirname(file.path) for file in found}
    texts = {file.path for file in found if is_text_file(os.path.join(folder, file.path))}
    base = posixpath.basename(posixpath.normpath(folder))
    previews = {file.path for file in found if PREVIEW.fullmatch(f"{base}/{file.path}")}
    images = [file.path for file in found if file.path not in texts and file.path not in previews]
    with_images = {folders[path] for path in images} | {""}
    only_texts = {folders[path] for path in texts} - with_images
    beside = sorted(path for path in texts if folders[path] in with_images - {""})
    made = _made_from_images(images, classes)
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
            f"{_listed(sorted(previews))}."
        )
    if made:
        pairs = [f"{printable(path)} of {printable(image)}" for path, image in sorted(made.items())]
        notes.append(
            f"WARNING: left out: {counted(len(pairs), 'file')} that by their names are made from other images, such as "
            f"{enumeration(pairs, 2)}. Rename them if they are images of their own, or name all classes: data.classes."
        )
    left = [file for file in found if file.path not in texts]
    others = [file for file in left if file.path in previews or file.path in made]
    alone = [file for file in left if file.path not in previews and file.path not in made]
    return Separated(alone, others, texts, notes)


def is_text_file(path: str) -> bool:
    """Tells whether a file is a text or a table: by its extension, unless it begins as an image does."""
    if not is_text(path):
        return False
    try:
        with open(path, "rb") as file:
            return not decode.is_known(file.read(HEAD))
    except OSError as error:
        if machine.is_at_fault(error):
            raise
        return True


def _made_from_images(paths: Iterable[str], classes: Collection[str]) -> dict[str, str]:
    """Returns masks, thumbnails and the like, each with an image that it is made from."""
    folders: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        folders[posixpath.dirname(path)].append(path)
    plain: dict[str, list[str]] = collections.defaultdict(list)  # folders of images, by what is left of their path
    read = {folder: _read_folder(folder, classes) for folder in folders}
    for folder, (left, word) in read.items():
        if not word:
            plain[left].append(folder)
    made: dict[str, str] = {}
    for folder, (left, word) in read.items():
        files = folders[folder]
        if not word:
            if named := [path for path in files if _made_word(path)]:
                made |= _pairs(named, {_left(path): path for path in {*files} - {*named}})
            continue
        for other in plain[left]:
            originals = {_left(path): path for path in folders[other] if not _made_word(path)}
            pairs = _pairs(files, originals)
            named_images = any(IMAGE_WORDS.fullmatch(part.casefold()) for part in other.split("/"))
            if 2 * len(pairs) >= len(files) or MASK_WORDS.fullmatch(word) and named_images:
                first = next(iter(pairs.values() or originals.values()), other)
                made |= dict.fromkeys(files, first) | pairs
                break
    return made


def _pairs(files: Iterable[str], originals: dict[str, str]) -> dict[str, str]:
    """Returns the files that are named like one of the originals, which are given by what is left of their names."""
    found = {}
    for path in files:
        for name in (_left(path), _left(path, r"[ _.-]*\d*$")):  # 1_mask_2 is the second mask of 1
            if name in originals:
                found[path] = originals[name]
                break
    return found


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0].casefold()


def _made_word(path: str) -> bool:
    return MADE_WORD.search(_stem(path)) is not None


def _left(path: str, after: str = "") -> str:
    """Returns what is left of a file's name without words for images and what is made of them, and what follows."""
    name = re.sub(f"({MADE_WORD.pattern}){after}", " ", _stem(path)) if after else MADE_WORD.sub(" ", _stem(path))
    return " ".join(re.sub(r"[\W_]+", " ", IMAGE_WORD.sub(" ", name)).split())


def _read_folder(folder: str, classes: Collection[str]) -> tuple[str, str]:
    """Returns what is left of a folder's path without words for images and what is made of them; and one of the latter.

    That word is empty for a folder of images. A name counts only if it is made up of such words: "mask" beside "no
    mask" are classes.
    """
    left, found = [], ""
    for part in folder.split("/"):
        words = re.findall(r"[^\W_]+", part.casefold().replace("ground_truth", "groundtruth"))
        kinds = [next((k for k in (MADE_WORDS, IMAGE_WORDS, SPLIT_WORDS) if k.fullmatch(word)), None) for word in words]
        if part in classes or not words or None in kinds:
            left.append(part)
            continue
        left += [word for word, kind in zip(words, kinds, strict=True) if kind == SPLIT_WORDS]
        found = next((word for word, kind in zip(words, kinds, strict=True) if kind == MADE_WORDS), found)
    return "/".join(left), found


def _listed(paths: list[str]) -> str:
    return enumeration(list(map(printable, paths)), 3)
