"""Builders of made-up image files, and the colours that viewers show of them.

Every image is four quadrants of one colour each, in the order upper left, upper right, lower left, lower right.
"""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms

from stages.decoding.decode import decode

COLOURS = np.array([(200, 40, 40), (40, 180, 60), (30, 60, 200), (230, 210, 50)])
GREYS = np.array([20, 90, 160, 240])
INKS = np.array([(200, 0, 0, 0), (0, 200, 0, 20), (10, 20, 200, 0), (0, 0, 0, 200)])  # cyan, magenta, yellow, black
ALPHA = 0.4  # opacity of the second quadrant of `rgba()`
WHITE = (255,) * 3

GREYS_AS_RGB = np.stack([GREYS] * 3, axis=1)
INKS_AS_RGB = (255 - INKS[:, :3]) * (255 - INKS[:, 3:]) / 255  # CMYK without a profile, as browsers show it
ON_WHITE = np.array([WHITE, COLOURS[1] * ALPHA + 255 * (1 - ALPHA), *COLOURS[2:]])  # `rgba()`
FIRST_TRANSPARENT = np.array([WHITE, *COLOURS[1:]])


def colours(file):
    """The colours of the quadrants of a file, a path or its content, as split packs them."""
    return decode(file, 64)[2][[16, 16, 48, 48], [16, 48, 16, 48]].astype(int)


def quadrants(values, width=64, height=64):
    """Pixels of the four values: [height, width] or [height, width, channels]."""
    values = np.asarray(values)
    grid = values.reshape(2, 2, *values.shape[1:])
    return grid.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def rgb(**size):
    return Image.fromarray(quadrants(COLOURS, **size).astype(np.uint8))


def grey(**size):
    return Image.fromarray(quadrants(GREYS, **size).astype(np.uint8))


def cmyk(**size):
    return Image.fromarray(quadrants(INKS, **size).astype(np.uint8), "CMYK")


def rgba():
    """The first quadrant is transparent, the second has opacity ALPHA, the others are opaque."""
    alpha = np.array([[0], [round(255 * ALPHA)], [255], [255]])
    return Image.fromarray(quadrants(np.hstack([COLOURS, alpha])).astype(np.uint8))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind, **options):
    """A file of three frames or pages: `rgb()`, and two black ones."""
    black = [Image.new("RGB", (64, 64))] * 2
    return encode(rgb(), kind, save_all=True, append_images=black, duration=100, **options)


# JPEG (ITU-T T.81): segments, each of a marker, its length and its content, follow the first two bytes.


def jpeg(image, **options):
    """A JPEG file of high quality, with colours as sharp as brightness."""
    subsampling = {"subsampling": 0} if image.mode == "RGB" else {}
    return encode(image, "JPEG", quality=95, **subsampling, **options)


def with_segment(data, marker, content):
    """A JPEG file with one more segment at its start."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


# PNG (https://www.w3.org/TR/png-3/): chunks, each of its length, name, content and checksum, follow eight bytes.


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(data, name, content):
    """A PNG file with one more chunk behind its header."""
    return data[:33] + chunk(name, content) + data[33:]


def png_16_bits(color_type, values, width=64, height=64, more=b""):
    """A PNG file of 16 bits per channel, which Pillow does not write, of a stated size, with more chunks."""
    rows = quadrants(values).reshape(64, -1).astype(">u2")
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# TIFF and HEIF


def tiff(values, planes=False, **options):
    """A TIFF file of any type of values, with a plane for each channel if wanted."""
    pixels = quadrants(values)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(np.moveaxis(pixels, 2, 0)) if planes else pixels, **options)
    return buffer.getvalue()


def heic(image, **options):
    """A HEIC file of high quality."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


# EXIF data is a TIFF file without an image: entries of a tag, a type, a count and the four bytes of the value.

ORIENTATION = 0x0112  # EXIF 2.3
# How a camera stores what is upright under each orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def exif(*entries, order="<"):
    body = b"".join(struct.pack(f"{order}HHI4s", *entry) for entry in entries)
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4)


def stored(image, orientation):
    """An image as a camera stores it under an EXIF orientation."""
    return image.transpose(STORED[orientation]) if orientation in STORED else image


def with_orientation(orientation, kind, **options):
    """A file that shows `rgb()` once its EXIF orientation is applied."""
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return encode(stored(rgb(width=640, height=480), orientation), kind, exif=tags, **options)


# ICC profiles (ICC.1:2010)


def swapped_profile():
    """An ICC profile with red and green exchanged: sRGB with the names of two tags exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def ink_profile():
    """An ICC profile (version 2, lut8Type) that maps any cyan to black, and every other ink to white."""
    identity = bytes(range(256))
    cube = b"".join(bytes([0 if ink >= 8 else 255, 128, 128]) for ink in range(16))  # Lab; cyan is the highest bit
    matrix = struct.pack(">9i", *(np.eye(3, dtype=int).ravel() << 16))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + cube + identity * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    kind = (0x02100000, b"prtr", b"CMYK", b"Lab ")  # version 2.1, a printer's profile from CMYK to Lab
    head = struct.pack(">I4sI4s4s4s12s4s4s", 144 + len(table), bytes(4), *kind, bytes(12), b"acsp", bytes(4))
    return head + bytes(68 - len(head)) + white + bytes(48) + tags + table
