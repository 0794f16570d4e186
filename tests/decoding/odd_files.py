"""Image files of every kind, made-up, with the colours that viewers show; and broken files, links and special files."""

import io
import os
import socket
import struct
import sys
import zlib
from typing import NamedTuple

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms, features

# Every good image is four quadrants: upper left, upper right, lower left, lower right.
COLOURS = np.array([(200, 40, 40), (40, 180, 60), (30, 60, 200), (230, 210, 50)])
GREYS = np.array([20, 90, 160, 240])
INKS = np.array([(200, 0, 0, 0), (0, 200, 0, 20), (10, 20, 200, 0), (0, 0, 0, 200)])  # cyan, magenta, yellow, black
ALPHA = 0.4  # opacity of the second quadrant, where there is transparency


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


ON_WHITE = np.array([(255,) * 3, COLOURS[1] * ALPHA + 255 * (1 - ALPHA), *COLOURS[2:]])
FIRST_TRANSPARENT = np.array([(255,) * 3, *COLOURS[1:]])
GREYS_AS_RGB = np.stack([GREYS] * 3, axis=1)
INKS_AS_RGB = (255 - INKS[:, :3]) * (255 - INKS[:, 3:]) / 255  # what browsers show of CMYK without a profile


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image, **options):
    if image.mode == "RGB":
        options["subsampling"] = 0  # colours as sharp as brightness
    return encode(image, "JPEG", quality=95, **options)


def palette_png(**options):
    return encode(rgb().quantize(4), "PNG", **options)


def chunk(name, data):
    """A chunk of a PNG file: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_16_bits(color_type, values, width=64, height=64, more=b""):
    """A PNG file of 16 bits a channel, which Pillow does not write, with more chunks. https://www.w3.org/TR/png-3/"""
    rows = quadrants(values).reshape(64, -1).astype(">u2")
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, quadrants(values), **options)
    return buffer.getvalue()


def with_exif(orientation, kind, **options):
    """An image file that looks like `rgb()` once its EXIF orientation is applied (EXIF 2.3, tag 0x0112)."""
    transpose = Image.Transpose
    stored = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_90,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_270,
    }
    image = rgb(width=640, height=480)
    if orientation in stored:
        image = image.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif, **options)


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


def frames(kind, **options):
    """An animation, or several pages, of which the first is `rgb()` and the others are black."""
    black = [Image.new("RGB", (64, 64))] * 2
    return encode(rgb(), kind, save_all=True, append_images=black, duration=100, **options)


def heic(image, **options):
    """A HEIC file of high quality."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


def exif(*entries, order="<"):
    """EXIF data, or a TIFF file without an image: entries of tag, type, count and the four bytes of the value."""
    body = b"".join(struct.pack(f"{order}HHI4s", *entry) for entry in entries)
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4)


def with_segment(data, marker, content):
    """A JPEG file with one more segment."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def with_chunk(data, name, content):
    """A PNG file with one more chunk behind its header."""
    return data[:33] + chunk(name, content) + data[33:]


class Good(NamedTuple):
    """A file that can be read: the colours of its quadrants as a viewer shows them, and what compression may change."""

    content: bytes
    colours: object
    tolerance: int = 0


def good_files():
    """{path: Good}."""
    return {**jpegs(), **exif_orientations(), **pngs(), **animations(), **tiffs(), **other_formats(), **odd_names()}


def jpegs():
    large = {"width": 1024, "height": 768}
    exchanged = COLOURS[:, [1, 0, 2]]
    adobe = jpeg(cmyk())
    marker = adobe.index(b"\xff\xee")  # APP14, of 16 bytes, by which Adobe's programs say that inks are inverted
    # 200 and 10 of cyan: L* is 21.6 and 96.1.
    by_ink_profile = [(52,) * 3, (255,) * 3, (244,) * 3, (255,) * 3]
    return {
        "jpeg baseline.jpg": Good(jpeg(rgb()), COLOURS, 4),
        "jpeg progressive.jpg": Good(jpeg(rgb(), progressive=True), COLOURS, 4),
        "jpeg large.jpg": Good(jpeg(rgb(**large)), COLOURS, 4),
        "jpeg grey.jpg": Good(jpeg(grey()), GREYS_AS_RGB, 4),
        "jpeg grey large.jpg": Good(jpeg(grey(**large)), GREYS_AS_RGB, 4),
        "jpeg cmyk adobe.jpg": Good(adobe, INKS_AS_RGB, 5),
        "jpeg cmyk without adobe.jpg": Good(adobe[:marker] + adobe[marker + 16 :], INKS_AS_RGB, 5),
        "jpeg cmyk large.jpg": Good(jpeg(cmyk(**large)), INKS_AS_RGB, 5),
        "jpeg cmyk profile.jpg": Good(jpeg(cmyk(**large), icc_profile=ink_profile()), by_ink_profile, 4),
        "jpeg profile.jpg": Good(jpeg(rgb(), icc_profile=swapped_profile()), exchanged, 6),
        "jpeg profile large.jpg": Good(jpeg(rgb(**large), icc_profile=swapped_profile()), exchanged, 6),
        "jpeg broken profile.jpg": Good(jpeg(rgb(), icc_profile=b"no profile"), COLOURS, 4),
        "jpeg odd exif.jpg": Good(jpeg(rgb(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"), COLOURS, 4),
    }


def exif_orientations():
    lossy = {"quality": 95, "subsampling": 0}
    files = {f"exif {number}.jpg": Good(with_exif(number, "JPEG", **lossy), COLOURS, 4) for number in range(1, 9)}
    files["exif 6.webp"] = Good(with_exif(6, "WEBP", lossless=True), COLOURS)
    files["exif 6.tif"] = Good(with_exif(6, "TIFF"), COLOURS)
    if features.check("avif"):
        files["exif 6.avif"] = Good(with_exif(6, "AVIF", quality=95, subsampling="4:4:4"), COLOURS, 8)
    return files


def pngs():
    black, white = (0,) * 3, (255,) * 3
    bits = Image.fromarray(quadrants([0, 1, 1, 0]).astype(bool))
    first = rgb().quantize(4).getpixel((0, 0))
    grey_alpha = Image.merge("LA", [grey(), rgba().getchannel("A")])
    greys_on_white = [white, (GREYS[1] * ALPHA + 255 * (1 - ALPHA),) * 3, *GREYS_AS_RGB[2:]]
    rgba_16_bits = np.hstack([COLOURS * 257, [[0], [65535], [65535], [65535]]])
    return {
        "png rgb.png": Good(encode(rgb(), "PNG"), COLOURS),
        "png grey.png": Good(encode(grey(), "PNG"), GREYS_AS_RGB),
        "png black and white.png": Good(encode(bits, "PNG"), [black, white, white, black]),
        "png palette.png": Good(palette_png(), COLOURS),
        "png palette transparent.png": Good(palette_png(transparency=first), FIRST_TRANSPARENT),
        "png rgb key.png": Good(encode(rgb(), "PNG", transparency=tuple(COLOURS[0].tolist())), FIRST_TRANSPARENT),
        "png rgba.png": Good(encode(rgba(), "PNG"), ON_WHITE, 1),
        "png la.png": Good(encode(grey_alpha, "PNG"), greys_on_white, 1),
        "png grey 16.png": Good(png_16_bits(0, GREYS * 257), GREYS_AS_RGB),
        "png rgb 16.png": Good(png_16_bits(2, COLOURS * 257), COLOURS),
        "png rgba 16.png": Good(png_16_bits(6, rgba_16_bits), FIRST_TRANSPARENT),
    }


def animations():
    return {
        "apng.png": Good(frames("PNG"), COLOURS),
        "gif animated.gif": Good(frames("GIF"), COLOURS, 2),
        "webp animated.webp": Good(frames("WEBP", lossless=True), COLOURS),
        "tiff pages.tif": Good(frames("TIFF"), COLOURS),
    }


def tiffs():
    return {
        "tiff.tif": Good(encode(rgb(), "TIFF"), COLOURS),
        "tiff lzw.tif": Good(encode(rgb(), "TIFF", compression="tiff_lzw"), COLOURS),
        "tiff grey 16.tif": Good(tiff((GREYS * 257).astype(np.uint16)), GREYS_AS_RGB),
        "tiff rgb 16.tif": Good(tiff((COLOURS * 257).astype(np.uint16), photometric="rgb"), COLOURS),
        "tiff float to 1.tif": Good(tiff((GREYS / 255).astype(np.float32)), GREYS_AS_RGB, 1),
        "tiff float to 255.tif": Good(tiff(GREYS.astype(np.float32)), GREYS_AS_RGB),
        "tiff cmyk.tif": Good(encode(cmyk(), "TIFF"), INKS_AS_RGB, 1),
    }


def other_formats():
    palette = rgb().quantize(4)
    first = palette.getpixel((0, 0))
    files = {
        "gif.gif": Good(encode(palette, "GIF"), COLOURS),
        "gif transparent.gif": Good(encode(palette, "GIF", transparency=first), FIRST_TRANSPARENT),
        "bmp.bmp": Good(encode(rgb(), "BMP"), COLOURS),
        "bmp palette.bmp": Good(encode(palette, "BMP"), COLOURS),
        "webp lossy.webp": Good(encode(rgb(), "WEBP", quality=95), COLOURS, 8),
        "webp alpha.webp": Good(encode(rgba(), "WEBP", lossless=True, exact=True), ON_WHITE, 1),
        "jpeg 2000.jp2": Good(encode(rgb(), "JPEG2000"), COLOURS, 1),
        "ppm.ppm": Good(encode(rgb(), "PPM"), COLOURS),
    }
    if features.check("avif"):
        files["avif.avif"] = Good(encode(rgb(), "AVIF", quality=95, subsampling="4:4:4"), COLOURS, 8)
    return files


def beyond_the_snippet():
    """{path: Good} of what predict reads, but the code in docs/serving.md does not."""
    inverted = (65535 - GREYS * 257).astype(np.uint16)
    planes = np.ascontiguousarray(np.moveaxis(quadrants((COLOURS * 257).astype(np.uint16)), 2, 0))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, photometric="rgb", planarconfig="separate")
    key = chunk(b"tRNS", struct.pack(">H", GREYS[0] * 257))
    return {
        "heic.heic": Good(heic(rgb()), COLOURS, 6),
        "heic.jpg": Good(heic(rgb()), COLOURS, 6),
        "tiff miniswhite.tif": Good(tiff(inverted, photometric="miniswhite"), GREYS_AS_RGB),
        "tiff planes.tif": Good(buffer.getvalue(), COLOURS),
        "png grey 16 key.png": Good(png_16_bits(0, GREYS * 257, more=key), [(255,) * 3, *GREYS_AS_RGB[1:]]),
        "jpeg exif without end.jpg": Good(with_segment(jpeg(rgb()), 0xE1, b"Exif\0\0II"), COLOURS, 4),
    }


def odd_names():
    names = [
        "UPPER.PNG",
        "no extension",
        "lies.jpg",
        "deeper/and deeper/nested.png",
        " spaces  in it .png",
        "quote'\".png",
    ]
    names += ["new\nline.png", "return\r.png", "comma,.png", "-dash.png", "🦙.png", "a\\b.png", "NA"]
    if sys.platform != "darwin":  # its file system takes UTF-8 only
        names.append(os.fsdecode(b"caf\xe9.png"))
    files = dict.fromkeys(names, Good(encode(rgb(), "PNG"), COLOURS))
    files["lies.txt"] = Good(jpeg(rgb()), COLOURS, 4)
    return files


def bad_files():
    """{path: (content, words of the reason why it cannot be read)}."""
    return {**no_images(), **broken_images(), **too_large_images(), **unknown_greys()}


def no_images():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    return {
        "text.jpg": (b"no image", "not an image"),
        "page.html": (b"<html></html>", "an HTML page"),
        "film.mov": (b"\0\0\0\x14ftypqt  " + bytes(5000), "a video"),
        "program.eps": (eps, "PostScript"),  # Pillow would hand it to Ghostscript
        "empty.png": (b"", "an empty file"),
    }


def broken_images():
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    png = encode(noise, "PNG")
    files = {
        "head only.png": (png[:20], ""),
        "deeper/broken.png": (b"GIF89a", "not an image"),
        "bits.png": (png[:900] + bytes(300) + png[1200:], "data stream"),
    }
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM"):
        complete = encode(noise, kind)
        files[f"half.{kind}"] = (complete[: len(complete) // 2], "")
    return files


def too_large_images():
    """Small files whose headers promise more pixels than data.max_pixels."""
    gif = b"GIF89a" + struct.pack("<HH", 65000, 65000) + encode(rgb(), "GIF")[10:]
    return {
        "bomb.png": (png_16_bits(2, COLOURS, width=60000, height=60000), "60000 x 60000 pixels"),
        "small bomb.png": (
            png_16_bits(2, COLOURS, width=16000, height=16000),
            "more than data.max_pixels, 250,000,000",
        ),
        "bomb.gif": (gif, "65000 x 65000 pixels"),
    }


def unknown_greys():
    """Measurements of which no value is known to be white."""
    return {
        "infinite.tif": (tiff(np.array([0, 1, 2, np.inf], np.float32)), "grey values from 0.0 to inf"),
        "science.tif": (tiff(np.array([0, -1, 2, 3], np.int32)), "grey values from -1 to 3"),
        "not a number.tif": (tiff(np.array([0, 1, 2, np.nan], np.float32)), "grey values"),
    }


def write_links(folder, outside):
    """Makes symbolic links to images, to "png rgb.png" and a folder `outside`."""
    links = {"link.png": "png rgb.png", "link to link": "link.png", "linked folder": outside}
    for path, target in links.items():
        (folder / path).symlink_to(target)


def write_broken_links(folder):
    """Makes symbolic links that lead to no image: {path: words of the reason}."""
    links = {
        "nowhere.png": ("nothing.png", "a link to nothing"),
        "itself": ("itself", "levels of symbolic links"),
        "loop": (".", "a link to a folder that it lies in"),
        "loop above": ("..", "a link to a folder"),
        "loop far above": ("../../..", "a link to a folder"),
        "endless": ("/dev/zero", "a device"),
    }
    for path, (target, _) in links.items():
        (folder / path).symlink_to(target)
    return {path: reason for path, (_, reason) in links.items()}


def write_special_files(folder):
    """Makes a named pipe and a socket: {path: reason}."""
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:  # a short relative path: that of a socket has at most 108 bytes
        before = os.getcwd()
        os.chdir(folder)
        server.bind("socket.png")
        os.chdir(before)
    return {"pipe.jpg": "a named pipe", "socket.png": "a socket"}


def write_without_permission(folder):
    """Makes a file and a folder that cannot be opened: {path: reason}. None for root; test_find.py simulates that."""
    if os.geteuid() == 0:
        return {}
    (folder / "locked.png").touch(mode=0)
    (folder / "locked").mkdir(mode=0)
    return dict.fromkeys(("locked.png", "locked"), "Permission denied")
