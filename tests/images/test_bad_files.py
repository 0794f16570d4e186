"""A folder with everything that is wrong in folders of images, and what `split` makes of it."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image, ImageCms, features

from stages.common import dataset
from tests.support import ROOT, Project, make_images

# Every good image is four quadrants: upper left, upper right, lower left, lower right.
COLOURS = np.array([(200, 40, 40), (40, 180, 60), (30, 60, 200), (230, 210, 50)])
GREYS = np.array([20, 90, 160, 240])
INKS = np.array([(200, 0, 0, 0), (0, 200, 0, 20), (10, 20, 200, 0), (0, 0, 0, 200)])  # cyan, magenta, yellow, black
ALPHA = 0.4


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
    """The first quadrant is clear, the second lets ALPHA of it be seen, the others are opaque."""
    alpha = np.array([[0], [round(255 * ALPHA)], [255], [255]])
    return Image.fromarray(quadrants(np.hstack([COLOURS, alpha])).astype(np.uint8))


ON_WHITE = np.array([(255,) * 3, COLOURS[1] * ALPHA + 255 * (1 - ALPHA), *COLOURS[2:]])
CLEAR_FIRST = np.array([(255,) * 3, *COLOURS[1:]])
SHOWN_GREYS = np.stack([GREYS] * 3, axis=1)
SHOWN_INKS = (255 - INKS[:, :3]) * (255 - INKS[:, 3:]) / 255  # what browsers show of CMYK without a profile


def file(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image, **options):
    return file(image, "JPEG", quality=95, **({"subsampling": 0} if image.mode == "RGB" else {}), **options)


def palette(**options):
    return file(rgb().quantize(4), "PNG", **options)


def png(color_type, values, width=64, height=64):
    """A PNG file of 16 bits a channel, which Pillow does not write. https://www.w3.org/TR/png-3/"""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = quadrants(values).reshape(64, -1).astype(">u2")
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, quadrants(values), **options)
    return buffer.getvalue()


def turned(orientation, kind, **options):
    """An image that EXIF says how to turn so that it looks like `rgb()` (EXIF 2.3, tag 0x0112)."""
    turns = Image.Transpose
    stored = [
        None,
        turns.FLIP_LEFT_RIGHT,
        turns.ROTATE_180,
        turns.FLIP_TOP_BOTTOM,
        turns.TRANSPOSE,
        turns.ROTATE_90,
        turns.TRANSVERSE,
        turns.ROTATE_270,
    ][orientation - 1]
    image = rgb(width=640, height=480)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file(image if stored is None else image.transpose(stored), kind, exif=exif, **options)


def swapped_profile():
    """An ICC profile in which red and green have changed places: sRGB with the names of two tags exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def ink_profile():
    """An ICC profile (version 2, lut8Type) in which any cyan is black, and every other ink is white."""
    identity = bytes(range(256))
    cube = b"".join(bytes([0 if ink >= 8 else 255, 128, 128]) for ink in range(16))  # Lab; cyan is the highest bit
    matrix = struct.pack(">9i", *(np.eye(3, dtype=int).ravel() << 16))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + cube + identity * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    head = struct.pack(
        ">I4sI4s4s4s12s4s4s",
        144 + len(table),
        bytes(4),
        0x02100000,
        b"prtr",
        b"CMYK",
        b"Lab ",
        bytes(12),
        b"acsp",
        bytes(4),
    )
    return head + bytes(68 - len(head)) + white + bytes(48) + tags + table


def frames(kind, **options):
    return file(rgb(), kind, save_all=True, append_images=[Image.new("RGB", (64, 64))] * 2, duration=100, **options)


def good():
    """{path: (file content, four colours that a viewer shows, how far lossy compression may be from them)}."""
    ordinary = file(rgb(), "PNG")
    files = {
        "jpeg baseline.jpg": (jpeg(rgb()), COLOURS, 4),
        "jpeg progressive.jpg": (jpeg(rgb(), progressive=True), COLOURS, 4),
        "jpeg large.jpg": (jpeg(rgb(width=1024, height=768)), COLOURS, 4),
        "jpeg grey.jpg": (jpeg(grey()), SHOWN_GREYS, 4),
        "jpeg grey large.jpg": (jpeg(grey(width=1024, height=768)), SHOWN_GREYS, 4),
        "jpeg cmyk adobe.jpg": (jpeg(cmyk()), SHOWN_INKS, 5),
        "jpeg cmyk large.jpg": (jpeg(cmyk(width=1024, height=768)), SHOWN_INKS, 5),
        "jpeg profile.jpg": (jpeg(rgb(), icc_profile=swapped_profile()), COLOURS[:, [1, 0, 2]], 6),
        "jpeg profile large.jpg": (
            jpeg(rgb(width=1024, height=768), icc_profile=swapped_profile()),
            COLOURS[:, [1, 0, 2]],
            6,
        ),
        "jpeg cmyk profile.jpg": (
            jpeg(cmyk(width=1024, height=768), icc_profile=ink_profile()),
            [(52,) * 3, (255,) * 3, (244,) * 3, (255,) * 3],
            4,  # 200 and 10 of cyan: L* is 21.6 and 96.1
        ),
        "jpeg broken profile.jpg": (jpeg(rgb(), icc_profile=b"no profile"), COLOURS, 4),
        "jpeg odd exif.jpg": (jpeg(rgb(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"), COLOURS, 4),
        "png rgb.png": (ordinary, COLOURS, 0),
        "png grey.png": (file(grey(), "PNG"), SHOWN_GREYS, 0),
        "png black and white.png": (
            file(Image.fromarray(quadrants([0, 1, 1, 0]).astype(bool)), "PNG"),
            [(0,) * 3, (255,) * 3, (255,) * 3, (0,) * 3],
            0,
        ),
        "png palette.png": (palette(), COLOURS, 0),
        "png palette transparent.png": (palette(transparency=rgb().quantize(4).getpixel((0, 0))), CLEAR_FIRST, 0),
        "png rgb key.png": (file(rgb(), "PNG", transparency=tuple(COLOURS[0].tolist())), CLEAR_FIRST, 0),
        "png rgba.png": (file(rgba(), "PNG"), ON_WHITE, 1),
        "png la.png": (
            file(Image.merge("LA", [grey(), rgba().getchannel("A")]), "PNG"),
            [(255,) * 3, (GREYS[1] * ALPHA + 255 * (1 - ALPHA),) * 3, *SHOWN_GREYS[2:]],
            1,
        ),
        "png grey 16.png": (png(0, GREYS * 257), SHOWN_GREYS, 0),
        "png rgb 16.png": (png(2, COLOURS * 257), COLOURS, 0),
        "png rgba 16.png": (png(6, np.hstack([COLOURS * 257, [[0], [65535], [65535], [65535]]])), CLEAR_FIRST, 0),
        "apng.png": (frames("PNG"), COLOURS, 0),
        "gif.gif": (file(rgb().quantize(4), "GIF"), COLOURS, 0),
        "gif animated.gif": (frames("GIF"), COLOURS, 2),
        "gif transparent.gif": (
            file(rgb().quantize(4), "GIF", transparency=rgb().quantize(4).getpixel((0, 0))),
            CLEAR_FIRST,
            0,
        ),
        "bmp.bmp": (file(rgb(), "BMP"), COLOURS, 0),
        "bmp palette.bmp": (file(rgb().quantize(4), "BMP"), COLOURS, 0),
        "webp lossy.webp": (file(rgb(), "WEBP", quality=95), COLOURS, 8),
        "webp alpha.webp": (file(rgba(), "WEBP", lossless=True, exact=True), ON_WHITE, 1),
        "webp animated.webp": (frames("WEBP", lossless=True), COLOURS, 0),
        "tiff.tif": (file(rgb(), "TIFF"), COLOURS, 0),
        "tiff lzw.tif": (file(rgb(), "TIFF", compression="tiff_lzw"), COLOURS, 0),
        "tiff pages.tif": (frames("TIFF"), COLOURS, 0),
        "tiff grey 16.tif": (tiff((GREYS * 257).astype(np.uint16)), SHOWN_GREYS, 0),
        "tiff rgb 16.tif": (tiff((COLOURS * 257).astype(np.uint16), photometric="rgb"), COLOURS, 0),
        "tiff float to 1.tif": (tiff((GREYS / 255).astype(np.float32)), SHOWN_GREYS, 1),
        "tiff float to 255.tif": (tiff(GREYS.astype(np.float32)), SHOWN_GREYS, 0),
        "tiff cmyk.tif": (file(cmyk(), "TIFF"), SHOWN_INKS, 1),
        "jpeg 2000.jp2": (file(rgb(), "JPEG2000"), COLOURS, 1),
        "ppm.ppm": (file(rgb(), "PPM"), COLOURS, 0),
        "UPPER.PNG": (ordinary, COLOURS, 0),
        "no extension": (ordinary, COLOURS, 0),
        "lies.jpg": (ordinary, COLOURS, 0),
        "lies.txt": (jpeg(rgb()), COLOURS, 4),
        "deeper/and deeper/nested.png": (ordinary, COLOURS, 0),
        **dict.fromkeys(
            (
                " spaces  in it .png",
                "quote'\".png",
                "new\nline.png",
                "return\r.png",
                "comma,.png",
                "-dash.png",
                "🦙.png",
                "a\\b.png",
                "NA",
            ),
            (ordinary, COLOURS, 0),
        ),
        **{f"exif {k}.jpg": (turned(k, "JPEG", quality=95, subsampling=0), COLOURS, 4) for k in range(1, 9)},
        "exif 6.webp": (turned(6, "WEBP", lossless=True), COLOURS, 0),
        "exif 6.tif": (turned(6, "TIFF"), COLOURS, 0),
    }
    app14 = files["jpeg cmyk adobe.jpg"][0].index(b"\xff\xee")
    adobe = files["jpeg cmyk adobe.jpg"][0]
    files["jpeg cmyk without adobe.jpg"] = (adobe[:app14] + adobe[app14 + 16 :], SHOWN_INKS, 5)
    if features.check("avif"):
        files["avif.avif"] = (file(rgb(), "AVIF", quality=95, subsampling="4:4:4"), COLOURS, 8)
        files["exif 6.avif"] = (turned(6, "AVIF", quality=95, subsampling="4:4:4"), COLOURS, 8)
    if sys.platform != "darwin":  # its file system takes UTF-8 only
        files[os.fsdecode(b"caf\xe9.png")] = (ordinary, COLOURS, 0)
    return files


def bad():
    """{path: (file content, words of the reason)}."""
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    files = {
        "text.jpg": (b"no image", "not an image"),
        "page.html": (b"<html></html>", "not an image"),
        "film.mov": (b"\0\0\0\x14ftypqt  " + bytes(5000), "not an image"),
        # Pillow would hand it to Ghostscript.
        "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
        "empty.png": (b"", "an empty file"),
        "head only.png": (file(noise, "PNG")[:20], ""),
        "deeper/broken.png": (b"GIF89a", "not an image"),
        "bits.png": (file(noise, "PNG")[:900] + bytes(300) + file(noise, "PNG")[1200:], "data stream"),
        "bomb.png": (png(2, COLOURS, width=60000, height=60000), "decompression bomb"),
        "small bomb.png": (png(2, COLOURS, width=10000, height=9000), "10000 x 9000 pixels"),
        "bomb.gif": (b"GIF89a" + struct.pack("<HH", 65000, 65000) + file(rgb(), "GIF")[10:], "decompression bomb"),
        "infinite.tif": (tiff(np.array([0, 1, 2, np.inf], np.float32)), "grey values from 0.0 to inf"),
        "science.tif": (tiff(np.array([0, -1, 2, 3], np.int32)), "grey values from -1 to 3"),
        "not a number.tif": (tiff(np.array([0, 1, 2, np.nan], np.float32)), "grey values"),
    }
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "PPM"):
        whole = file(noise, kind)
        files[f"half.{kind}"] = (whole[: len(whole) // 2], "")
    return files


PASSED_OVER = [".hidden.png", ".DS_Store", "Thumbs.db", "thumbs.DB", "Desktop.ini", "__MACOSX/._a.png", ".git/x.png"]


def build(folder):
    """Makes the folder and returns what should come of it: {path: (colours, tolerance)} and {path: reason}."""
    make_images(folder, {"other": 5})
    shown, problems = {}, {}
    for path, (content, colours, tolerance) in good().items():
        (folder / "odd" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "odd" / path).write_bytes(content)
        shown[f"odd/{path}"] = (colours, tolerance)
    for path, (content, reason) in bad().items():
        (folder / "odd" / path).write_bytes(content)
        problems[f"odd/{path}"] = reason
    for path in PASSED_OVER:
        for place in (folder, folder / "odd"):
            (place / path).parent.mkdir(exist_ok=True)
            (place / path).write_text("no image")
    (folder / "read me.txt").write_text("belongs to no class")
    outside = make_images(folder.parent / "outside", {"images": 1}, seed=1)
    links = {"link.png": "png rgb.png", "link to link": "link.png", "linked folder": outside / "images"}
    broken = {
        "nowhere.png": ("nothing.png", "a link to nothing"),
        "itself": ("itself", "levels of symbolic links"),
        "loop": (".", "a link to a folder that it lies in"),
        "loop above": ("..", "a link to a folder"),
        "loop far above": ("../../..", "a link to a folder"),
        "endless": ("/dev/zero", "a device"),
    }
    for path, target in links.items():
        (folder / "odd" / path).symlink_to(target)
    for path, (target, reason) in broken.items():
        (folder / "odd" / path).symlink_to(target)
        problems[f"odd/{path}"] = reason
    shown |= {"odd/link.png": (COLOURS, 0), "odd/link to link": (COLOURS, 0), "odd/linked folder/000.png": (None, 0)}
    os.mkfifo(folder / "odd/pipe.jpg")
    problems["odd/pipe.jpg"] = "a named pipe"
    with socket.socket(socket.AF_UNIX) as server:  # a short relative path: that of a socket has at most 108 bytes
        before = os.getcwd()
        os.chdir(folder / "odd")
        server.bind("socket.png")
        os.chdir(before)
    problems["odd/socket.png"] = "a socket"
    if os.geteuid() != 0:  # no permission stops root; test_images.py simulates that
        for path in ("locked.png", "locked"):
            (folder / "odd" / path).touch() if "." in path else (folder / "odd" / path).mkdir()
            (folder / "odd" / path).chmod(0)
            problems[f"odd/{path}"] = "Permission denied"
    return shown, problems


def state(folder):
    """What is in a folder: name, kind, time of the last change and content of everything."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        readable = path.is_file() and not path.is_symlink() and status.st_mode & 0o400
        found[path] = (status.st_mode, status.st_mtime_ns, status.st_size, path.read_bytes() if readable else None)
    return found


@pytest.fixture(scope="module")
def torture(tmp_path_factory):
    """`split` has run on the folder, once to stop at what cannot be read and once to skip it."""
    workplace = Project(tmp_path_factory.mktemp("torture"))
    (workplace.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    shown, problems = build(workplace.folder / "mine")
    before = state(workplace.folder / "mine")
    runs = {}
    for unreadable in ("error", "skip"):
        workplace.set({"data.images": "mine", "image_size": 64, "data.unreadable": unreadable})
        runs[unreadable] = subprocess.run(
            [sys.executable, "-m", "stages.split"],
            cwd=workplace.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=100,
            capture_output=True,
            text=True,
            errors="replace",
        )
    after = state(workplace.folder / "mine")
    return SimpleNamespace(folder=workplace.folder, shown=shown, problems=problems, before=before, after=after, **runs)


@pytest.fixture
def splits(torture, monkeypatch):
    monkeypatch.chdir(torture.folder)
    return [dataset.load(name) for name in ("train", "validation", "test")]


def test_it_holds_at_least_forty_kinds(torture):
    assert len(torture.shown) >= 40 and len(torture.problems) >= 25


def test_every_good_image_is_packed_as_a_viewer_shows_it(torture, splits):
    packed = {path: pixels for part in splits for path, pixels in zip(part.manifest["path"], part.pixels)}
    assert {path for path in packed if not path.startswith("other/")} == set(torture.shown)
    wrong = {}
    for path, (colours, tolerance) in torture.shown.items():
        seen = packed[path][[16, 16, 48, 48], [16, 48, 16, 48]].astype(float)
        if colours is not None and np.abs(seen - np.asarray(colours)).max() > tolerance:
            wrong[path] = seen.tolist()
    assert wrong == {}


def test_every_bad_one_is_listed_with_its_reason(torture):
    table = pd.read_csv(torture.folder / "data/splits/unreadable.csv", encoding_errors="surrogateescape")
    listed = dict(zip(table["path"], table["reason"]))
    assert list(table["path"]) == sorted(torture.problems)
    assert {path: listed[path] for path, reason in torture.problems.items() if reason not in listed[path]} == {}
    assert all(listed.values()) and not any("/" in reason for reason in listed.values())  # no path of a temporary file
    assert json.loads((torture.folder / "metrics/split.json").read_text())["unreadable"] == len(torture.problems)


def test_by_default_it_stops_and_names_the_first_twenty_in_one_line(torture):
    assert torture.error.returncode == 1
    [line] = [line for line in torture.error.stderr.splitlines() if line.startswith("ERROR")]
    assert f" {len(torture.problems)} of {len(torture.problems) + len(torture.shown) + 5} images" in line
    assert f"and {len(torture.problems) - 20} more" in line
    for index, path in enumerate(sorted(torture.problems)):
        assert (f"mine/{path} (" in line) == (index < 20)


def test_nothing_else_is_said(torture):
    assert torture.skip.returncode == 0, torture.skip.stderr
    # libtiff, a library below Pillow, writes of a truncated file past Python's streams.
    assert not any(word in torture.skip.stderr for word in ("Warning", "Traceback", "PIL")), torture.skip.stderr


def test_no_file_of_the_folder_is_touched(torture):
    assert torture.before == torture.after
