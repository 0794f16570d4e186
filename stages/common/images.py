"""Picture files: finding them in a folder of classes, and turning one into pixels."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stages.common.command import UserError

BACKGROUND = "white"  # what shows through transparent pictures, as on a page


@dataclass(frozen=True)
class Picture:
    """A picture file: its path below the folder of pictures, with `/`, and the name of its class."""

    path: str
    class_name: str


def find(folder):
    """Lists the pictures of a folder that has one sub-folder per class.

    The class is the first folder of a picture's path; deeper folders do not matter. Hidden files and folders are passed
    over; every other file counts as a picture, whatever its name, so that a broken one is noticed when it is decoded.

    Args:
        folder: path of the folder.

    Returns:
        list of Picture, sorted by path: the same whatever the order in which the file system lists files.

    Raises:
        UserError: the folder is missing, or has fewer than two sub-folders with files in them.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder} is no folder. Set data.images to a folder of pictures with one sub-folder per class.")
    pictures = []
    for path in root.glob("*/**/*"):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            pictures.append(Picture(relative.as_posix(), relative.parts[0]))
    classes = sorted({picture.class_name for picture in pictures})
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(
            f"{folder} needs at least two sub-folders with pictures in them, one per class, but has {found}."
        )
    return sorted(pictures, key=lambda picture: picture.path)


def decode(path, size):
    """Reads a picture file once: its hash and its pixels.

    The picture is decoded whole, so a truncated file is an error; turned as its EXIF orientation says; laid on white
    where it is transparent; and resized, without keeping its proportions, to a square.

    Args:
        path: path of the file.
        size: side of the square in pixels.

    Returns:
        (str, array): SHA-256 of the file in hexadecimal, and uint8 [size, size, 3], RGB.

    Raises:
        ValueError: the file is no whole picture; the text says why, without the path.
    """
    try:
        data = Path(path).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            # libjpeg can scale by 1/2, 1/4 or 1/8 while it decodes; twice the target leaves the quality to resize().
            image.draft(None, (2 * size, 2 * size))
            image.load()
            image = _rgb(ImageOps.exif_transpose(image))
        return hashlib.sha256(data).hexdigest(), np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    # Pillow's decoders raise these, and SyntaxError and struct.error for some broken PNG and TIFF files.
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture" if data else "an empty file") from None
    except Exception as error:
        raise ValueError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _rgb(image):
    if image.mode.startswith("I;16"):
        # convert() would clip 16 bits to 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    return image.convert("RGB")
