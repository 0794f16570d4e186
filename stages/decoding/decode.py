"""Decoding of image files into pixels, as a viewer shows them."""

import contextlib
import functools
import hashlib
import io
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms
from pillow_heif import HeifImageFile

from stages.decoding import bit_depth, faulty_metadata, tiff, unreadable

BACKGROUND = "white"  # of transparent images, as on a page
# The formats of photographs and drawings. Among Pillow's others are EPS, which it hands to Ghostscript to run, and some
# with a signature so short that a text file may match it.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 250_000_000  # a photograph of 200 megapixels and some margin; the default of data.max_pixels
LARGE = 50_000_000  # pixels, of which an image takes 4 bytes each and more: such images are decoded one at a time
_large = threading.RLock()
TRANSPOSE = {  # what shows an image upright, by its orientation: EXIF 2.3, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    path: str | Path | bytes, size: int, max_pixels: int = MAX_PIXELS
) -> tuple[str, tuple[int, int], np.ndarray]:
    """Reads an image file once: its hash and its pixels, as a viewer shows them.

    All of the image (of an animation, the first frame) is decoded, so a truncated file is an error; faulty metadata is
    none. The orientation that EXIF or XMP states by a number is applied; the image is resized to a square, without
    keeping its aspect ratio; transparency is composited on BACKGROUND; colours are converted to sRGB where there is an
    ICC profile. Of more than 8 bits a sample, the highest 8 are kept (samples.eight_bits).

    Args:
        path: path of the file, or its content.
        size: side of the square in pixels.
        max_pixels: the most pixels of an image: before they are scaled, each takes 4 bytes of memory or more.

    Returns:
        (str, tuple, array): SHA-256 of the file in hexadecimal; width and height in pixels, orientation applied; and
        uint8 [size, size, 3], RGB.

    Raises:
        ValueError: the file is not a complete image in one of FORMATS or HEIF, or has more pixels; the text says why,
            without the path.
    """
    head, name = b"", "" if isinstance(path, bytes) else str(path)
    try:
        with contextlib.ExitStack() as stack:
            with io.BytesIO(path) if isinstance(path, bytes) else open(path, "rb") as file:
                head, length = file.read(unreadable.HEAD), file.seek(0, os.SEEK_END)
                if not _is_known(head) or unreadable.raw(name, head[:16]):
                    raise Image.UnidentifiedImageError  # so a huge video is never read to its end
                if length > LARGE:
                    stack.enter_context(_large)
                if length > 16 * max_pixels + 2**28:
                    raise unreadable.UnreadableError(
                        f"{length:,} bytes, more than data.max_pixels, {max_pixels:,} pixels, can take"
                    )
                file.seek(0)
                head = data = file.read()
            stack.enter_context(_no_limit)
            if data.startswith(tiff.STARTS) and (reason := unreadable.raw(name, data)):
                raise unreadable.UnreadableError(reason)
            return hashlib.sha256(data).hexdigest(), *_decode(data, size, max_pixels)
    except unreadable.UnreadableError:
        raise
    # Pillow's decoders raise these, and SyntaxError and struct.error for some broken PNG and TIFF files.
    except Exception as error:
        if isinstance(error, Image.UnidentifiedImageError) or unreadable.is_heif(head):
            raise ValueError(unreadable.reason(name, head, length)) from None
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        clear = getattr(error, "errno", None) or re.search("truncated|broken|memory", text.lower())
        raise ValueError(text if clear else f"broken, truncated or not supported: {text}") from None


class _NoLimit:
    """Lifts Pillow's own limit of pixels, which holds for the whole process, while any thread decodes."""

    def __init__(self) -> None:
        self.lock, self.threads, self.limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self.lock:
            if self.threads == 0:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.threads += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.threads -= 1
            if self.threads == 0:
                Image.MAX_IMAGE_PIXELS = self.limit


_no_limit = _NoLimit()


def _is_known(head: bytes) -> bool:
    """Tells whether a file starts as those of FORMATS and HEIF do."""
    Image.init()
    tests = [Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN]
    return unreadable.is_heif(head) or any(test is not None and test(head) is True for test in tests)


def _decode(data: bytes, size: int, max_pixels: int) -> tuple[tuple[int, int], np.ndarray]:
    """Decodes a file, and where that fails, the file without its metadata, which the pixels do not need.

    Returns:
        (tuple, array): width and height; and uint8 [size, size, 3].
    """
    try:
        return _pixels(data, size, max_pixels)
    except unreadable.UnreadableError:
        raise
    except Exception:
        try:
            stripped = faulty_metadata.strip(data)
        except (ValueError, struct.error):
            stripped = faulty_metadata.Stripped(data, data, None)
        for rest in dict.fromkeys((stripped.data, stripped.bare)):
            if rest != data:
                try:
                    return _pixels(rest, size, max_pixels, stripped.orientation)
                except unreadable.UnreadableError:
                    raise
                except Exception:  # the first one says more
                    continue
        raise


def _pixels(
    data: bytes, size: int, max_pixels: int, orientation: int | None = None
) -> tuple[tuple[int, int], np.ndarray]:
    """Decodes a file, as `_decode`.

    Args:
        data, size, max_pixels: as in `decode`.
        orientation: that is to be applied; None: the file's own.
    """
    deep = bit_depth.planes(data)
    with contextlib.ExitStack() as stack:
        images = [stack.enter_context(_open(file)) for file in (deep.files if deep else [data])]
        shape = images[0].size
        if shape[0] * shape[1] > max_pixels:
            raise unreadable.UnreadableError(
                f"{shape[0]} x {shape[1]} pixels, more than data.max_pixels, {max_pixels:,}"
            )
        if images[0].format in ("JPEG", "MPO"):  # libheif's draft would be a preview
            # libjpeg can scale by 1/2, 1/4 or 1/8 while it decodes, which saves half the time; never below the target.
            images[0].draft(None, (size, size))
        drafted = images[0].size != shape
        progressive = drafted and images[0].info.get("progressive")  # libjpeg has all of it in memory
        with _large if np.prod(shape if progressive else images[0].size) > LARGE else contextlib.nullcontext():
            upright, transposed = zip(*(_upright(image, data, orientation) for image in images), strict=True)
            shape = upright[0].size if not drafted else shape[::-1] if transposed[0] else shape
            image = deep.merge(upright) if deep else _eight_bits(upright[0], data)
            square = image.resize((size, size), Image.Resampling.BILINEAR)
    return shape, np.asarray(_srgb(square, images[0].info.get("icc_profile")))


def _open(data: bytes) -> Image.Image:
    if not unreadable.is_heif(data[: unreadable.HEAD]):
        return Image.open(io.BytesIO(data), formats=FORMATS)
    try:
        return HeifImageFile(io.BytesIO(data))
    except SyntaxError:  # which Image.open makes that of
        raise Image.UnidentifiedImageError from None


def _upright(image: Image.Image, data: bytes, orientation: int | None) -> tuple[Image.Image, bool]:
    """Decodes an image, and returns it upright, and whether width and height have changed places for that.

    Pillow has applied the orientation of TIFF itself, and libheif that of HEIF.
    """
    image.load()
    if image.mode == "RGB" and isinstance(image.info.get("transparency"), tuple) and bit_depth.stated(data)[0] > 8:
        image.putalpha(bit_depth.opaque_colours(image, data, image.info.pop("transparency")))
    if orientation is None:
        orientation = 1 if isinstance(image, HeifImageFile) else _orientation(image, data)
    method = TRANSPOSE.get(orientation)
    if method is None:
        return image, False
    turned = image.transpose(method)
    image.close()  # which frees its pixels
    return turned, orientation >= 5


def _orientation(image: Image.Image, data: bytes) -> int:
    """Returns the orientation that an image's metadata states by a number, 1 to 8; 1, upright, if it states none."""
    if image.format == "TIFF" and ExifTags.Base.Orientation not in image.getexif():  # Pillow has applied it
        return 1
    xmp = image.info.get("xmp", b"")
    return faulty_metadata.orientation(image.info.get("exif", data), xmp if isinstance(xmp, bytes) else b"")


def _eight_bits(image: Image.Image, data: bytes) -> Image.Image:
    """Returns the image in mode L, CMYK, RGB or RGBA: modes of 8 bits, which resize() interpolates."""
    bits, white = bit_depth.stated(data)
    key = image.info.get("transparency")
    if image.mode == "F" or image.mode.startswith("I"):  # convert() would clip at 255
        [grey] = bit_depth.eight_bits([image], bits, white)
        return grey if key is None else Image.merge("LA", (grey, bit_depth.opaque(image, key))).convert("RGBA")
    if bits > 8 and image.mode in ("RGB", "RGBA"):  # of which Pillow keeps the highest 8
        bit_depth.check_colours(image, bits, white)
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("L", "CMYK", "RGB") else image.convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts an image of mode L, CMYK, RGB or RGBA to sRGB, on BACKGROUND, by its ICC profile if it has one."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    transform = _transform(profile, image.mode) if isinstance(profile, bytes) else None  # a TIFF tag may be of any type
    return transform.apply(image) if transform else image.convert("RGB")


@functools.lru_cache(maxsize=64)  # most images of a folder come from a few cameras and programs
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from an ICC profile to sRGB, or None where the profile is broken or of another mode."""
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError:
        return None
