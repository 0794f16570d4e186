"""Picture files: finding them in a folder of classes, and turning them into pixels."""

import errno
import functools
import hashlib
import io
import os
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, ImageCms, ImageOps
from tqdm import tqdm

from stages.common import grouping
from stages.common.command import UserError

BACKGROUND = "white"  # what shows through transparent pictures, as on a page
# The formats of photographs and drawings. Among Pillow's others are EPS, which it hands to Ghostscript to run, and some
# that are told by so few bytes that a text may pass for a picture.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
PASSED_OVER = {"thumbs.db", "desktop.ini", "__macosx"}  # what Windows and macOS leave in folders
QUEUED = 1024  # pictures that wait for a thread at a time; map() notes down all that it is given
NO_FILES = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file: its path below the folder of pictures, with `/`, and the name of its class.

    `problem` says why it cannot even be opened; it is empty for a regular file.
    """

    path: str
    class_name: str
    problem: str = ""


def find(folder):
    """Lists the pictures of a folder that has one sub-folder per class.

    The class is the first folder of a picture's path; deeper folders do not matter. Hidden files and folders are passed
    over, as is PASSED_OVER; every other file counts as a picture, whatever its name, so that a broken one is noticed.
    Symbolic links are followed, but a class enters a folder once, however many links lead there.

    Args:
        folder: path of the folder.

    Returns:
        list of Picture, sorted by path: the same whatever the order in which the file system lists files. What is no
        regular file, a link to nothing or in a circle, or a folder that cannot be listed is among them with its problem.

    Raises:
        UserError: the folder is missing, has fewer than two sub-folders with files in them, or one whose name is not
            UTF-8.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder} is no folder. Set data.images to a folder of pictures with one sub-folder per class.")
    # A file beside the class folders belongs to no class. What cannot be looked at might be a class folder.
    pictures = [Picture(path, path.split("/")[0], problem) for path, problem in walk(folder)
                if "/" in path or problem not in {"", *NO_FILES.values()}]
    classes = sorted({picture.class_name for picture in pictures})
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(
            f"{folder} needs at least two sub-folders with pictures in them, one per class, but has {found}."
        )
    for name in classes:
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"{folder} has a sub-folder {name!r}: the name of a class must be UTF-8. Rename it.")
    return sorted(pictures, key=lambda picture: picture.path)


def walk(folder):
    """Yields each file of a folder, however deep, in one order.

    Hidden files and folders are passed over, as is PASSED_OVER. Symbolic links are followed, but from each folder that lies
    directly in `folder` another is entered once, however many links lead there.

    Args:
        folder: path of the folder; or of a file, which is the only one then.

    Yields:
        (str, str): the path below `folder`, with `/`, empty for `folder` itself; and why it cannot be opened, empty for a
        regular file. What is no regular file, a link to nothing or in a circle, or a folder that cannot be listed is
        among them with its reason.

    Raises:
        OSError: `folder` itself is missing or cannot be listed.
    """
    root = Path(folder)
    parents = Path(os.path.realpath(root)).parents
    around = frozenset((status.st_dev, status.st_ino) for status in map(os.stat, parents))
    entered, todo = set(), [("", around)]
    while todo:
        path, above = todo.pop()
        try:
            status = os.stat(root / path)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                raise OSError(errno.ELOOP, "a link to a folder that it lies in")
            if stat.S_ISDIR(status.st_mode):
                place = (path.split("/")[0], identity)
                if place not in entered:
                    entered.add(place)
                    names = sorted(os.listdir(root / path), reverse=True)
                    names = [name for name in names if name[0] != "." and name.lower() not in PASSED_OVER]
                    inside = above | {identity}
                    todo += [(os.path.join(path, name), inside) for name in names]
                continue
            problem = NO_FILES.get(stat.S_IFMT(status.st_mode), "")
        except FileNotFoundError:
            if not path:
                raise
            problem = "a link to nothing"
        except OSError as error:
            if not path:
                raise
            problem = error.strerror
        yield path, problem


def pack(folder, pictures, pixels, thumbnails):
    """Decodes every picture once, several at a time.

    Args:
        folder: the folder that the pictures' paths start from.
        pictures: N of Picture.
        pixels: dataset.Pixels, [N, size, size, 3], filled in, but for pictures that cannot be read.
        thumbnails: dataset.Pixels, [N, grouping.SIDE, grouping.SIDE, 3], filled in likewise.

    Returns:
        (DataFrame, array): N rows with path, class, sha256 of the file, original width and height in pixels, and why the
        picture cannot be read: problem, empty if it can; and grouping.FINGERPRINT [N].
    """
    sha256, problems = [""] * len(pictures), [x.problem for x in pictures]
    sizes, fingerprints = np.zeros((len(pictures), 2), int), np.zeros(len(pictures), grouping.FINGERPRINT)

    def work(row):
        if not problems[row]:
            try:
                sha256[row], sizes[row], decoded = decode(Path(folder) / pictures[row].path, pixels.shape[1])
                fingerprints[row], thumbnails[row] = grouping.fingerprint(decoded)
                pixels[row] = decoded
            except ValueError as error:
                problems[row] = str(error)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without Python's lock
        warnings.simplefilter("ignore")  # what Pillow says of odd metadata; set here because it holds for all threads
        rows = range(len(pictures))
        progress = tqdm(None, "decoding", len(rows), unit="picture", disable=None)
        for start in rows[::QUEUED]:
            for _ in pool.map(work, rows[start : start + QUEUED]):
                progress.update()
        progress.close()
    table = pd.DataFrame({
        "path": [x.path for x in pictures],
        "class": [x.class_name for x in pictures],
        "sha256": sha256,
        "width": sizes[:, 0],
        "height": sizes[:, 1],
        "problem": problems,
    })
    return table, fingerprints


def decode(path, size):
    """Reads a picture file once: its hash and its pixels, as a viewer shows them.

    The picture (of an animation, the first) is decoded whole, so a truncated file is an error; turned as its EXIF
    orientation says; resized, without keeping its proportions, to a square; laid on white where it is transparent; and
    converted to sRGB where it has an ICC profile. Of 16 bits the higher 8 stay. Floating-point greys go from black, 0,
    to white, 1, or 255 if any is above 1.

    Args:
        path: path of the file.
        size: side of the square in pixels.

    Returns:
        (str, tuple, array): SHA-256 of the file in hexadecimal; width and height in pixels, as a viewer shows it; and
        uint8 [size, size, 3], RGB.

    Raises:
        ValueError: the file is no whole picture in one of FORMATS, or has more pixels than Pillow's limit against
            decompression bombs; the text says why, without the path.
    """
    try:
        with open(path, "rb") as file:
            Image.open(file, formats=FORMATS)  # sees by the first bytes that a film of gigabytes is none
            file.seek(0)
            data = file.read()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Pillow itself refuses twice as many
                raise ValueError(f"{image.width} x {image.height} pixels, more than {Image.MAX_IMAGE_PIXELS:,}")
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by a quarter
            shape = image.size[::-1] if turned else image.size
            # libjpeg can scale by 1/2, 1/4 or 1/8 while it decodes, which saves half the time; never below the target.
            image.draft(None, (size, size))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            profile = image.info.get("icc_profile")
            image = _eight_bits(image).resize((size, size), Image.Resampling.BILINEAR)
            return hashlib.sha256(data).hexdigest(), shape, np.asarray(_srgb(image, profile))
    # Pillow's decoders raise these, and SyntaxError and struct.error for some broken PNG and TIFF files.
    except Image.UnidentifiedImageError:
        empty = os.path.getsize(path) == 0
        raise ValueError("an empty file" if empty else "not a picture in a known format, or cut off") from None
    except Exception as error:
        raise ValueError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _eight_bits(image):
    """Returns the picture in mode L, CMYK, RGB or RGBA: modes of 8 bits, which resize() interpolates."""
    if image.mode == "F" or image.mode.startswith("I"):  # convert() would clip at 255
        values = np.asarray(image)
        white = 65535 if image.mode != "F" else 255 if values.max() > 1 else 1
        if not (values.min() >= 0 and values.max() <= white):
            raise ValueError(f"grey values from {values.min()} to {values.max()}, of which none is known to be white")
        values = values * 255 if white == 1 else values if white == 255 else values >> 8
        return Image.fromarray(values.astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "CMYK", "RGB") else image.convert("RGB")


def _srgb(image, profile):
    """Returns a picture of mode L, CMYK, RGB or RGBA in RGB, on BACKGROUND, seen through its ICC profile if any."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    transform = profile and _transform(profile, image.mode)
    return ImageCms.applyTransform(image, transform) if transform else image.convert("RGB")


@functools.lru_cache(maxsize=64)  # most pictures of a folder come from a few cameras and programs
def _transform(profile, mode):
    """Returns the transform from an ICC profile to sRGB, or None where the profile is broken or of another mode."""
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError:
        return None
