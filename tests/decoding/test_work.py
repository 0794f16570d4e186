"""Limits of work, in proportion to the size of a file. Tests lower them, so that small files reach them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.decoding import tiff, work
from stages.decoding.decode import decode
from stages.decoding.unreadable import UnreadableError
from tests.decoding import odd_files
from tests.decoding.image_files import chunk, encode, jpeg, rgb, with_chunk


@pytest.fixture
def low(monkeypatch):
    """Limits that every ordinary file of 64 x 64 pixels keeps, and hardly more."""
    limits = {"MOST_PARTS": 20, "BYTES_PER_PART": 10**9, "MOST_SCANS": 12, "MOST_FILL": 100, "MOST_NUMBERS": 8}
    for name, limit in (limits | {"MOST_TILE": 4096, "MOST_HEADER": 100, "MOST_STRIPS": 20}).items():
        monkeypatch.setattr(work, name, limit)
    monkeypatch.setattr(tiff, "MOST_ENTRIES", 20)


def with_fill(count, byte=b"\xff"):
    """A JPEG file with bytes before its second segment."""
    data = jpeg(rgb())
    place = 4 + struct.unpack_from(">H", data, 4)[0]
    return data[:place] + (b"\xff" + byte * (count - 1) if byte != b"\xff" else byte * count) + data[place:]


def with_scans(count):
    """A progressive JPEG file, with the last of its scans repeated."""
    data = jpeg(rgb(), progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def with_segments(count):
    """A JPEG file with empty comments."""
    return b"\xff\xd8" + b"\xff\xfe\0\2" * count + jpeg(rgb())[2:]


def with_chunks(count):
    """A PNG file with empty chunks."""
    data = encode(rgb(), "PNG")
    return data[:33] + chunk(b"teSt", b"") * count + data[33:]


def with_blocks(count):
    """A GIF file with a comment in blocks of a byte."""
    data = encode(rgb(), "GIF")
    image = data.index(b"\x2c", 13 + (3 << (data[10] & 7) + 1))
    return data[:image] + b"\x21\xfe" + b"\1a" * count + b"\0" + data[image:]


def with_tags(*tags, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(rgb()), photometric="rgb", metadata=None, extratags=tags, **options)
    return file.getvalue()


def with_strips(count):
    """A TIFF file of one strip whose first tag of offsets holds more of them than there are strips."""
    data = bytearray(encode(rgb(), "TIFF"))
    [entry] = [tiff.directory(bytes(data)).entries[tiff.STRIP_OFFSETS]]
    place = data.index(entry)
    data[place : place + 12] = struct.pack("<HHII", tiff.STRIP_OFFSETS, 4, count, len(data))
    return bytes(data) + struct.pack("<I", struct.unpack_from("<I", entry, 8)[0]) * count


def with_boxes(count):
    """A JPEG 2000 file with empty boxes before its header."""
    data = encode(rgb(), "JPEG2000")
    return data[:12] + struct.pack(">I4s", 8, b"free") * count + data[12:]


def with_comments(count, kind=b"P3"):
    """A PPM file with comments among the numbers of its pixels, or before the pixels."""
    pixels = b"9 " * 192 if kind == b"P3" else b"9" * 192
    head, comments = kind + b" 8 8 255\n", b"#a\n" * count
    return head + comments + pixels if kind == b"P3" else kind + b"\n" + comments + head[2:] + pixels


CASES = {
    "fill bytes": (with_fill, 90, 120, "120 bytes between the segments of a JPEG file, more than 100"),
    "other bytes": (lambda count: with_fill(count, b"\0"), 90, 120, "bytes between the segments of a JPEG file"),
    "segments": (with_segments, 5, 30, "21 segments in a JPEG file, more than 20"),
    "scans": (with_scans, 12, 13, "13 scans in a JPEG file, more than 12"),
    "chunks": (with_chunks, 10, 30, "21 chunks in a PNG file, more than 20"),
    "blocks": (with_blocks, 10, 30, "21 blocks before the image in a GIF file"),
    "strips": (with_strips, 18, 19, "19 strips or tiles in a TIFF file that needs 1"),
    "entries": (
        lambda count: with_tags(*((40000 + x, "H", 1, 1, True) for x in range(count))),
        5,
        20,
        r"\d\d entries in a TIFF directory, more than 20",
    ),
    "numbers": (
        lambda count: with_tags((530, "H", count, (1,) * count, True)),
        2,
        9,
        "9 numbers in tag 530 of a TIFF file, more than 8",
    ),
    "comments": (with_comments, 20, 21, "21 comments in a PPM file, more than 20"),
    "header": (lambda count: with_comments(count, b"P6"), 20, 60, "bytes before the pixels of a PPM file"),
    "boxes": (with_boxes, 5, 30, "21 boxes in a JPEG 2000 file, more than 20"),
    "tiles": (
        lambda count: encode(rgb(width=count * 8, height=8), "JPEG2000", tile_size=(8, 8), num_resolutions=1),
        20,
        21,
        "21 tiles in a JPEG 2000 file, more than 20",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_more_parts_than_the_limit_is_refused(low, name):
    make, allowed, refused, reason = CASES[name]
    assert decode(make(allowed), 16)[2].any()
    with pytest.raises(UnreadableError, match=reason):
        decode(make(refused), 16)


@pytest.mark.parametrize("name", CASES)
def test_the_real_limits_are_far_from_these(name):
    make, _, refused, _ = CASES[name]
    assert decode(make(16 if name == "strips" else refused), 16)[2].any()


@pytest.mark.parametrize("name", ["segments", "chunks", "blocks", "boxes"])
def test_the_limit_of_parts_is_in_proportion_to_the_size(low, monkeypatch, name):
    make, _, refused, _ = CASES[name]
    monkeypatch.setattr(work, "BYTES_PER_PART", 20)
    assert decode(make(refused), 16)[2].any()


def test_a_scan_beyond_a_few_needs_bytes_in_proportion_to_the_pixels(monkeypatch):
    monkeypatch.setattr(work, "FEW_SCANS", 12)
    assert decode(with_scans(13), 16)[2].any()
    monkeypatch.setattr(work, "PIXELS_PER_BYTE", 1e-9)
    with pytest.raises(UnreadableError, match="13 scans in a JPEG file, more than 12"):
        decode(with_scans(13), 16)


def test_strips_of_a_row_are_no_more_than_the_image_needs():
    file = io.BytesIO()
    white = np.full((20_000, 300), 255, np.uint8)
    tifffile.imwrite(file, white, photometric="minisblack", rowsperstrip=1, compression="deflate")
    assert 20_000 > work.MOST_PARTS + len(file.getvalue()) // work.BYTES_PER_PART
    work.check(file.getvalue())


def test_a_tile_may_be_larger_than_its_image_but_not_by_any_number_of_pixels(low, monkeypatch):
    data = with_tags(tile=(64, 80))
    assert decode(data, 16)[1] == (64, 64)
    monkeypatch.setattr(work, "MOST_TILE", 64)
    small = io.BytesIO()
    tifffile.imwrite(small, np.asarray(rgb(width=16, height=16)), photometric="rgb", tile=(64, 64))
    with pytest.raises(UnreadableError, match="4,096 pixels in a tile of a TIFF file, more than 1,024"):
        decode(small.getvalue(), 16)


def test_scans_after_the_end_of_the_image_do_not_count(low):
    data = jpeg(rgb(), progressive=True)
    for more in (b"\xff\xda" * 50, jpeg(rgb()) * 50, bytes(9) + b"\xff\xda\0\2" * 50):
        assert decode(data + more, 16)[1] == (64, 64)  # as a video that a phone appends


def test_no_ordinary_file_is_refused():
    files = odd_files.good_files() | odd_files.beyond_the_snippet()
    for file in files.values():
        work.check(file.content)
    for content, _ in odd_files.bad_files().values():  # of which other words say what is wrong
        try:
            work.check(content)
        except UnreadableError as error:
            pytest.fail(str(error))


def test_files_of_many_parts_as_programs_write_them(tmp_path):
    noise = Image.effect_noise((1000, 800), 90).convert("RGB")
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(noise)), 0)
    parts = b"".join(chunk(b"IDAT", body[place : place + 256]) for place in range(0, len(body), 256))
    assert parts.count(b"IDAT") > work.MOST_PARTS
    png = encode(noise, "PNG")
    png = png[:33] + parts + png[-12:]
    tiles = io.BytesIO()
    tifffile.imwrite(tiles, np.asarray(noise), photometric="rgb", tile=(16, 16))
    rows = io.BytesIO()
    tifffile.imwrite(rows, np.asarray(noise), photometric="rgb", rowsperstrip=1)
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as writer:
        for _ in range(200):
            writer.write(np.asarray(rgb()), photometric="rgb")
    restarts = encode(noise, "JPEG", restart_marker_blocks=1)
    slices = encode(Image.new("L", (8, 5000), 9), "PNG")
    for data in (png, *(x.getvalue() for x in (tiles, rows, pages)), restarts, with_fill(70_000)):
        work.check(data)
        assert decode(data, 16)[2].shape == (16, 16, 3)
    work.check(slices)
    work.check(with_chunk(slices, b"tEXt", b"Comment\0" + bytes(10**5)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "JPEG2000", "BMP", "PPM", "WEBP"])
def test_a_file_of_any_length_is_left_to_its_decoder(kind):
    data = encode(rgb(), kind)
    for length in range(0, len(data), max(len(data) // 200, 1)):
        work.check(data[:length])
