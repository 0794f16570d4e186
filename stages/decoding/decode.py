"""Decoding of image files, and of images in memory, into pixels as a viewer shows them."""

import contextlib
import functools
import hashlib
import io
import math
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.Image import Transpose
from pillow_heif import HeifImageFile

from stages.common import machine
from stages.decoding import bit_depth, faulty_metadata, unreadable, work
from stages.decoding.unreadable import UnreadableError

BACKGROUND = "white"  # colour on which transparent images are composited, as on a page; the default of background
# Formats of photographs and drawings. Among Pillow's others are EPS, which it hands to Ghostscript to run, and some
# with a signature so short that a text file may match it.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 250_000_000  # pixels: a photograph of 200 megapixels and some margin; the default of data.max_pixels
MARGIN = 2**28  # bytes of a file beyond those that max_pixels of 16 bytes take, for metadata
LARGE = 50_000_000  # pixels of an image, or bytes of a file, above which images are decoded one at a time
# Bytes per pixel that decoders take at most (JPEG 2000: 20), and beside the pixels; and pixels, if these are unknown.
MEMORY, MEMORY_BESIDE, UNKNOWN = 32, 2**28, 10_000_000
# What shows an image upright, by its orientation: EXIF 2.3, tag 0x0112.
TRANSPOSE = {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM}
TRANSPOSE |= {5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90}
Size = tuple[int, int]  # width and height in pixels
_one_at_a_time, _limits_lock = threading.RLock(), threading.Lock()
_limits: list[int | None] = []  # Pillow's own limits of pixels, as the threads that decode found them


def decode(
    path: str | Path | bytes, size: int, max_pixels: int = MAX_PIXELS, background: str = BACKGROUND
) -> tuple[str, Size, np.ndarray]:
    """Reads an image file once: its hash and its pixels, as a viewer shows them.

    All of the image, or of an animation's first frame, is decoded, so a truncated file is an error; faulty metadata is
    none. The orientation that EXIF or XMP states by a number is applied; of more than 8 bits per channel, the highest 8
    are kept; the image is resized to a square, without keeping its aspect ratio; transparency is composited on a
    colour; colours are converted to sRGB where there is an ICC profile.

    Args:
        path: path of the file, or its content.
        size: side of the square in pixels.
        max_pixels: the most pixels of an image: before it is resized, each takes 4 bytes of memory or more.
        background: colour on which transparent images are composited: a name that Pillow knows, or #rrggbb.

    Returns:
        SHA-256 of the file in hexadecimal; its width and height, orientation applied; and uint8 [size, size, 3], RGB.

    Raises:
        ValueError: it is no complete image in one of FORMATS or HEIF, or has more pixels; the text gives no path. It is
            an UnreadableError where no decoder has been asked.
        MemoryError, OSError: the machine is at fault: it lacks memory or descriptors, or a disk fails.
    """
    head = data = b""
    name = "" if isinstance(path, bytes) else str(path)
    try:
        with io.BytesIO(path) if isinstance(path, bytes) else open(path, "rb") as file:
            head, length = file.read(unreadable.HEAD), file.seek(0, os.SEEK_END)
            if not is_known(head) or unreadable.raw(name, head[:16]):
                # Before all is read: it may be a video of gigabytes.
                raise UnreadableError(unreadable.reason(name, head, length))
            if length > 16 * max_pixels + MARGIN:
                raise UnreadableError(f"{length:,} bytes, more than data.max_pixels, {max_pixels:,} pixels, can take")
            with _alone(length), _no_limit():
                file.seek(0)
                head = data = file.read()
                if unreadable.raw(name, data):
                    raise UnreadableError(unreadable.reason(name, data, length))
                work.check(data)
                return hashlib.sha256(data).hexdigest(), *_decode(data, size, max_pixels, background)
    except UnreadableError:
        raise
    # Pillow's decoders raise these, and SyntaxError and struct.error for some broken PNG and TIFF files.
    except Exception as error:
        if isinstance(error, OSError) and machine.is_at_fault(error):
            raise OSError(error.errno, error.strerror, name) from None
        if _lacks_memory(data):
            raise MemoryError(f"{name or 'an image'} cannot be decoded") from None
        if isinstance(error, Image.UnidentifiedImageError) or unreadable.is_heif(head):
            raise ValueError(unreadable.reason(name, head, length)) from None
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        clear = getattr(error, "errno", None) or re.search("truncated|broken|memory", text.lower())
        raise ValueError(text if clear else f"broken, truncated or not supported: {text}") from None


def decode_image(image: Image.Image, size: int, background: str = BACKGROUND) -> np.ndarray:
    """Converts an image in memory to uint8 [size, size, 3], RGB, as `decode` does with a file that holds the same.

    An image that Pillow has only opened is loaded now, and stays open.

    Raises:
        ValueError: the image has more than MAX_PIXELS pixels or none, or its file is broken; the text says why.
        MemoryError, OSError: the machine is at fault.
    """
    try:
        _check_size(image.size, MAX_PIXELS)
        if 0 in image.size:
            raise UnreadableError("an image without pixels")
        with _alone(math.prod(image.size)), _no_limit():
            image.load()
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            upright = _upright(image, orientation[0] if isinstance(orientation, tuple) else orientation)
            bits = {"I;16": 16, "I": 15}.get(image.mode[:4], 8)  # Pillow's mode I has a sign
            return _square(_eight_bits(upright, bits, None), size, image.info.get("icc_profile"), background)
    except Exception as error:  # what Pillow has only opened may be broken in any way
        if machine.is_at_fault(error):
            raise
        raise ValueError(str(error) or type(error).__name__) from None


def is_known(head: bytes) -> bool:
    """Tells whether a file starts as those of FORMATS and HEIF do."""
    Image.init()
    tests = [Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN]
    return unreadable.is_heif(head) or any(test is not None and test(head) is True for test in tests)


def _check_size(size: Size, max_pixels: int) -> None:
    if math.prod(size) > max_pixels:
        raise UnreadableError(f"{size[0]} x {size[1]} pixels, more than data.max_pixels, {max_pixels:,}")


def _alone(size: int) -> contextlib.AbstractContextManager:
    """Returns a lock for images that are LARGE, none for others; the size is in pixels or bytes."""
    return _one_at_a_time if size > LARGE else contextlib.nullcontext()


def _lacks_memory(data: bytes) -> bool:
    """Tells whether decoding of a file may have failed for lack of memory, which decoders call a broken file, too."""
    try:
        with _open(data) as image:
            pixels = math.prod(image.size)
    except Exception:
        pixels = UNKNOWN
    try:
        np.empty(MEMORY * pixels + 3 * len(data) + MEMORY_BESIDE, np.uint8)  # is not touched, and takes no time
    except MemoryError:
        return True
    return False


@contextlib.contextmanager
def _no_limit() -> Iterator[None]:
    """Lifts Pillow's own limit of pixels, which holds for the whole process, until the last thread leaves this."""
    with _limits_lock:
        _limits.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _limits_lock:
            Image.MAX_IMAGE_PIXELS = _limits.pop()


def _decode(data: bytes, size: int, max_pixels: int, background: str) -> tuple[Size, np.ndarray]:
    """Decodes a file as `decode` does, and where that fails, the file without metadata, which pixels do not need."""
    failed: list[Exception] = []
    for version, orientation in faulty_metadata.versions(data):
        try:
            return _pixels(version, size, max_pixels, background, orientation)
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:
            failed = failed or [error]  # the error of the file itself says more
    raise failed.pop()


def _pixels(
    data: bytes, size: int, max_pixels: int, background: str, orientation: int | None
) -> tuple[Size, np.ndarray]:
    """Decodes a file as `decode` does, under this orientation, 1 to 8; None: under the one that the file states."""
    planes = bit_depth.planes(data)
    with contextlib.ExitStack() as stack:
        images = [stack.enter_context(_open(file)) for file in (planes.files if planes else [data])]
        first, shape = images[0], images[0].size
        _check_size(shape, max_pixels)
        bit_depth.check_jpeg_2000(first, data)
        if first.format in ("JPEG", "MPO"):  # HEIF's draft would be a preview
            # libjpeg can scale by 1/2, 1/4 or 1/8 while it decodes, which saves half the time; never below the target.
            first.draft(None, (size, size))
        drafted = first.size != shape
        # Of a progressive JPEG file, libjpeg holds all in memory.
        with _alone(math.prod(shape if first.info.get("progressive") else first.size)):
            for image in images:
                image.load()
            bits, white = bit_depth.bits_and_white(data)
            if first.mode == "RGB" and isinstance(first.info.get("transparency"), tuple) and bits > 8:
                first.putalpha(bit_depth.colour_key_alpha(first, data, first.info.pop("transparency")))
            orientation = orientation or _orientation(first, data)
            upright = [_upright(image, orientation) for image in images]
            if orientation in TRANSPOSE:
                stack.close()  # frees the pixels that were turned
            shape = upright[0].size if not drafted else shape[::-1] if orientation >= 5 else shape
            image = planes.merge(upright, bits, white) if planes else _eight_bits(upright[0], bits, white)
            return shape, _square(image, size, first.info.get("icc_profile"), background)


def _open(data: bytes) -> Image.Image:
    if unreadable.is_heif(data[: unreadable.HEAD]):
        return HeifImageFile(io.BytesIO(data))
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _orientation(image: Image.Image, data: bytes) -> int:
    """Returns the orientation, 1 to 8, that a decoded image's metadata states by a number; 1, upright, if none."""
    if isinstance(image, HeifImageFile) or image.format == "TIFF" and ExifTags.Base.Orientation not in image.getexif():
        return 1  # libheif or Pillow has applied it
    xmp = image.info.get("xmp", b"")
    return faulty_metadata.orientation(image.info.get("exif", data), xmp if isinstance(xmp, bytes) else b"")


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def _eight_bits(image: Image.Image, bits: int, white: int | None) -> Image.Image:
    """Returns the image in mode L, CMYK, RGB or RGBA: modes of 8 bits, which resize() interpolates."""
    key = image.info.get("transparency")
    if image.mode == "F" or image.mode.startswith("I"):  # convert() would clip at 255
        [grey] = bit_depth.eight_bits([image], bits, white)
        return grey if key is None else Image.merge("LA", (grey, bit_depth.grey_key_alpha(image, key))).convert("RGBA")
    if bits > 8 and image.mode in ("RGB", "RGBA"):  # Pillow keeps the highest 8
        bit_depth.check_colours(image, bits, white)
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("L", "CMYK", "RGB") else image.convert("RGB")


def _square(image: Image.Image, size: int, profile: bytes | None, background: str) -> np.ndarray:
    """Resizes an image of mode L, CMYK, RGB or RGBA, and converts it to sRGB by its ICC profile, if any."""
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    transform = _transform(profile, image.mode) if isinstance(profile, bytes) else None  # a TIFF tag may be of any type
    return np.asarray(transform.apply(image) if transform else image.convert("RGB"))


@functools.lru_cache(maxsize=64)  # most images of a folder come from a few cameras and programs
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from an ICC profile to sRGB, or None where the profile is broken or of another mode."""
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError:
        if _lacks_memory(b""):
            raise MemoryError("colours cannot be converted to sRGB") from None
        return None
