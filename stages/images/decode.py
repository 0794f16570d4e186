"""Decoding of image files into pixels, as a viewer shows them."""

import functools
import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

BACKGROUND = "white"  # of transparent images, as on a page
# The formats of photographs and drawings. Among Pillow's others are EPS, which it hands to Ghostscript to run, and some
# with a signature so short that a text file may match it.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def decode(path: str | Path, size: int) -> tuple[str, tuple[int, int], np.ndarray]:
    """Reads an image file once: its hash and its pixels, as a viewer shows them.

    All of the image (of an animation, the first frame) is decoded, so a truncated file is an error. EXIF orientation
    is applied; the image is resized to a square, without keeping its aspect ratio; transparency is composited on
    BACKGROUND; colours are converted to sRGB where there is an ICC profile. 16-bit values keep their high byte.
    Floating-point grey levels go from black, 0, to white, 1, or 255 if any is above 1.

    Args:
        path: path of the file.
        size: side of the square in pixels.

    Returns:
        (str, tuple, array): SHA-256 of the file in hexadecimal; width and height in pixels, EXIF orientation applied;
        and uint8 [size, size, 3], RGB.

    Raises:
        ValueError: the file is not a complete image in one of FORMATS, or has more pixels than Pillow's limit against
            decompression bombs; the text says why, without the path.
    """
    try:
        with open(path, "rb") as file:
            Image.open(file, formats=FORMATS)  # checks the header first, so a huge video is never read to its end
            file.seek(0)
            data = file.read()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS  # Pillow itself refuses twice as many
            if limit and image.width * image.height > limit:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {limit:,}")
            transposed = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # width and height change places
            shape = image.size[::-1] if transposed else image.size
            # libjpeg can scale by 1/2, 1/4 or 1/8 while it decodes, which saves half the time; never below the target.
            image.draft(None, (size, size))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            profile = image.info.get("icc_profile")
            square = _eight_bits(image).resize((size, size), Image.Resampling.BILINEAR)
            return hashlib.sha256(data).hexdigest(), shape, np.asarray(_srgb(square, profile))
    # Pillow's decoders raise these, and SyntaxError and struct.error for some broken PNG and TIFF files.
    except Image.UnidentifiedImageError:
        empty = os.path.getsize(path) == 0
        raise ValueError("an empty file" if empty else "not an image in a known format, or truncated") from None
    except Exception as error:
        raise ValueError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Returns the image in mode L, CMYK, RGB or RGBA: modes of 8 bits, which resize() interpolates."""
    if image.mode == "F" or image.mode.startswith("I"):  # convert() would clip at 255
        values = np.asarray(image)
        white = 65535 if image.mode != "F" else 255 if values.max() > 1 else 1
        if not (values.min() >= 0 and values.max() <= white):
            raise ValueError(f"grey values from {values.min()} to {values.max()}, a range that is not supported")
        values = values * 255 if white == 1 else values if white == 255 else values >> 8
        return Image.fromarray(values.astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "CMYK", "RGB") else image.convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts an image of mode L, CMYK, RGB or RGBA to sRGB, on BACKGROUND, by its ICC profile if it has one."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    transform = _transform(profile, image.mode) if profile else None
    return transform.apply(image) if transform else image.convert("RGB")


@functools.lru_cache(maxsize=64)  # most images of a folder come from a few cameras and programs
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from an ICC profile to sRGB, or None where the profile is broken or of another mode."""
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError:
        return None
