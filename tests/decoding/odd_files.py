"""What lies in folders of images: files of every kind that can be read, broken files, links and special files."""

import os
import socket
import struct
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image, features

from tests.decoding.image_files import (
    ALPHA,
    COLOURS,
    FIRST_TRANSPARENT,
    GREYS,
    GREYS_AS_RGB,
    INKS_AS_RGB,
    ON_WHITE,
    WHITE,
    animation,
    chunk,
    cmyk,
    encode,
    grey,
    heic,
    ink_profile,
    jpeg,
    png_16_bits,
    quadrants,
    rgb,
    rgba,
    swapped_profile,
    tiff,
    with_orientation,
    with_segment,
)


class Good(NamedTuple):
    """A file that can be read: the colours of its quadrants as a viewer shows them, and what compression may change."""

    content: bytes
    colours: object
    tolerance: int = 0


def good_files():
    """{path: Good} of what predict reads, and so does the code in docs/serving.md."""
    return {**jpegs(), **orientations(), **pngs(), **animations(), **tiffs(), **other_formats(), **odd_names()}


def jpegs():
    """Colours, grey, inks and colour profiles, small and large: libjpeg scales large images while it decodes."""
    large = {"width": 1024, "height": 768}
    exchanged = COLOURS[:, [1, 0, 2]]  # red and green
    adobe = jpeg(cmyk())
    marker = adobe.index(b"\xff\xee")  # APP14, 16 bytes, by which Adobe's programs say that inks are inverted
    black_where_cyan = [(52,) * 3, WHITE, (244,) * 3, WHITE]  # for 200 and 10 of cyan, L* is 21.6 and 96.1
    return {
        "jpeg baseline.jpg": Good(jpeg(rgb()), COLOURS, 4),
        "jpeg progressive.jpg": Good(jpeg(rgb(), progressive=True), COLOURS, 4),
        "jpeg large.jpg": Good(jpeg(rgb(**large)), COLOURS, 4),
        "jpeg grey.jpg": Good(jpeg(grey()), GREYS_AS_RGB, 4),
        "jpeg grey large.jpg": Good(jpeg(grey(**large)), GREYS_AS_RGB, 4),
        "jpeg cmyk adobe.jpg": Good(adobe, INKS_AS_RGB, 5),
        "jpeg cmyk without adobe.jpg": Good(adobe[:marker] + adobe[marker + 16 :], INKS_AS_RGB, 5),
        "jpeg cmyk large.jpg": Good(jpeg(cmyk(**large)), INKS_AS_RGB, 5),
        "jpeg cmyk profile.jpg": Good(jpeg(cmyk(**large), icc_profile=ink_profile()), black_where_cyan, 4),
        "jpeg profile.jpg": Good(jpeg(rgb(), icc_profile=swapped_profile()), exchanged, 6),
        "jpeg profile large.jpg": Good(jpeg(rgb(**large), icc_profile=swapped_profile()), exchanged, 6),
        "jpeg broken profile.jpg": Good(jpeg(rgb(), icc_profile=b"no profile"), COLOURS, 4),
        "jpeg odd exif.jpg": Good(jpeg(rgb(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"), COLOURS, 4),  # 9 tags, none there
    }


def orientations():
    """Each EXIF orientation in JPEG, and a quarter turn in the other formats that hold EXIF data."""
    numbers = range(1, 9)
    files = {f"exif {x}.jpg": Good(with_orientation(x, "JPEG", quality=95, subsampling=0), COLOURS, 4) for x in numbers}
    files["exif 6.webp"] = Good(with_orientation(6, "WEBP", lossless=True), COLOURS)
    files["exif 6.tif"] = Good(with_orientation(6, "TIFF"), COLOURS)
    if features.check("avif"):
        files["exif 6.avif"] = Good(with_orientation(6, "AVIF", quality=95, subsampling="4:4:4"), COLOURS, 8)
    return files


def pngs():
    """Every colour type and depth, and transparency as a channel, in the palette, and as a key (one colour)."""
    black = (0,) * 3
    bits = Image.fromarray(quadrants([0, 1, 1, 0]).astype(bool))
    palette = rgb().quantize(4)
    grey_alpha = Image.merge("LA", [grey(), rgba().getchannel("A")])
    greys_on_white = [WHITE, (GREYS[1] * ALPHA + 255 * (1 - ALPHA),) * 3, *GREYS_AS_RGB[2:]]
    rgba_16_bits = np.hstack([COLOURS * 257, [[0], [65535], [65535], [65535]]])
    first = {"transparency": palette.getpixel((0, 0))}
    key = {"transparency": tuple(COLOURS[0].tolist())}
    return {
        "png rgb.png": Good(encode(rgb(), "PNG"), COLOURS),
        "png grey.png": Good(encode(grey(), "PNG"), GREYS_AS_RGB),
        "png black and white.png": Good(encode(bits, "PNG"), [black, WHITE, WHITE, black]),
        "png palette.png": Good(encode(palette, "PNG"), COLOURS),
        "png palette transparent.png": Good(encode(palette, "PNG", **first), FIRST_TRANSPARENT),
        "png rgb key.png": Good(encode(rgb(), "PNG", **key), FIRST_TRANSPARENT),
        "png rgba.png": Good(encode(rgba(), "PNG"), ON_WHITE, 1),
        "png la.png": Good(encode(grey_alpha, "PNG"), greys_on_white, 1),
        "png grey 16.png": Good(png_16_bits(0, GREYS * 257), GREYS_AS_RGB),
        "png rgb 16.png": Good(png_16_bits(2, COLOURS * 257), COLOURS),
        "png rgba 16.png": Good(png_16_bits(6, rgba_16_bits), FIRST_TRANSPARENT),
    }


def animations():
    return {
        "apng.png": Good(animation("PNG"), COLOURS),
        "gif animated.gif": Good(animation("GIF"), COLOURS, 2),
        "webp animated.webp": Good(animation("WEBP", lossless=True), COLOURS),
        "tiff pages.tif": Good(animation("TIFF"), COLOURS),
    }


def tiffs():
    """Compression, 16 bits, floating-point values up to 1 and up to 255, and inks."""
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
    first = {"transparency": palette.getpixel((0, 0))}
    files = {
        "gif.gif": Good(encode(palette, "GIF"), COLOURS),
        "gif transparent.gif": Good(encode(palette, "GIF", **first), FIRST_TRANSPARENT),
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


def odd_names():
    names = ["UPPER.PNG", "no extension", "lies.jpg", "deeper/and deeper/nested.png", " spaces  in it .png"]
    names += ["quote'\".png", "new\nline.png", "return\r.png", "comma,.png", "-dash.png", "🦙.png", "a\\b.png", "NA"]
    if sys.platform != "darwin":  # its file system takes UTF-8 only
        names.append(os.fsdecode(b"caf\xe9.png"))
    return {**dict.fromkeys(names, Good(encode(rgb(), "PNG"), COLOURS)), "lies.txt": Good(jpeg(rgb()), COLOURS, 4)}


def beyond_the_snippet():
    """{path: Good} of what predict reads, but the code in docs/serving.md does not."""
    deep_greys, deep_colours = (GREYS * 257).astype(np.uint16), (COLOURS * 257).astype(np.uint16)
    planes = tiff(deep_colours, planes=True, photometric="rgb", planarconfig="separate")
    key = chunk(b"tRNS", struct.pack(">H", deep_greys[0]))
    return {
        "heic.heic": Good(heic(rgb()), COLOURS, 6),
        "heic.jpg": Good(heic(rgb()), COLOURS, 6),
        "tiff miniswhite.tif": Good(tiff(65535 - deep_greys, photometric="miniswhite"), GREYS_AS_RGB),
        "tiff planes.tif": Good(planes, COLOURS),
        "png grey 16 key.png": Good(png_16_bits(0, deep_greys, more=key), [WHITE, *GREYS_AS_RGB[1:]]),
        "jpeg exif without end.jpg": Good(with_segment(jpeg(rgb()), 0xE1, b"Exif\0\0II"), COLOURS, 4),
    }


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
    """Files that end too early, or whose middle is zeros."""
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
    small = png_16_bits(2, COLOURS, width=16000, height=16000)
    gif = b"GIF89a" + struct.pack("<HH", 65000, 65000) + encode(rgb(), "GIF")[10:]
    return {
        "bomb.png": (png_16_bits(2, COLOURS, width=60000, height=60000), "60000 x 60000 pixels"),
        "small bomb.png": (small, "more than data.max_pixels, 250,000,000"),
        "bomb.gif": (gif, "65000 x 65000 pixels"),
    }


def unknown_greys():
    """Measurements, in a range that does not tell which value is white."""
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
