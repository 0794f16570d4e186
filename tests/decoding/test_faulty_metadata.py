import io
import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.decoding.decode import decode
from tests.decoding.image_files import (
    COLOURS,
    chunk,
    colours,
    encode,
    exif,
    heic,
    jpeg,
    rgb,
    swapped_profile,
    with_chunk,
    with_segment,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, about odd metadata
UNIT, RESOLUTION, MAKER = 0x0128, 0x011B, 0x010F
SIX = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
TURNED = np.rot90(COLOURS.reshape(2, 2, 3), -1).reshape(4, 3)  # what a camera that was held upright has stored
XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description tiff:Orientation="6"/>'


def tag(code, kind, count=1, value=b"\xff" * 4):
    return (code, kind, count, value)


ODD_TAGS = {
    "negative unit": [tag(UNIT, 8)],
    "negative resolution": [tag(RESOLUTION, 9)],
    "unit that is no number": [tag(UNIT, 11, 1, struct.pack("<f", np.nan))],
    "text in the place of a number": [tag(UNIT, 2, 4, b"inch")],
    "offset beyond the end": [tag(MAKER, 2, 900, struct.pack("<I", 2**31))],
    "unknown type": [tag(MAKER, 99)],
    "number of a directory": [tag(0x8769, 4, 1, struct.pack("<I", 8))],
    "profile of a wrong type": [tag(34675, 3, 2)],
}


@pytest.mark.parametrize("name", ODD_TAGS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_tags_beside_a_good_orientation(kind, name):
    data = exif(SIX, *ODD_TAGS[name])
    if kind == "JPEG":
        file = with_segment(jpeg(rgb()), 0xE1, b"Exif\0\0" + data)
    elif kind == "PNG":
        file = with_chunk(encode(rgb(), "PNG"), b"eXIf", data)
    else:
        file = encode(rgb(), "WEBP", lossless=True, exif=b"Exif\0\0" + data)
    assert np.abs(colours(file) - TURNED).max() <= 4


@pytest.mark.parametrize(
    ("entry", "turned"),
    [
        (SIX, True),
        ((0x0112, 1, 1, b"\6\0\0\0"), True),  # a byte
        ((0x0112, 4, 1, b"\6\0\0\0"), True),
        ((0x0112, 9, 1, b"\6\0\0\0"), True),
        ((0x0112, 3, 2, b"\6\0\6\0"), True),  # two numbers
        ((0x0112, 11, 1, struct.pack("<f", 6)), True),
        ((0x0112, 2, 2, b"6\0\0\0"), False),  # text
        ((0x0112, 7, 1, b"\6\0\0\0"), False),  # undefined
        ((0x0112, 3, 0, b"\6\0\0\0"), False),
        ((0x0112, 3, 1, b"\x09\0\0\0"), False),
        ((0x0112, 11, 1, struct.pack("<f", np.nan)), False),
        ((0x0112, 99, 1, b"\6\0\0\0"), False),
    ],
)
@pytest.mark.parametrize("more", [[], ODD_TAGS["negative unit"]])
def test_the_orientation_counts_where_it_is_a_number(entry, turned, more):
    expected = TURNED if turned else COLOURS
    file = with_segment(jpeg(rgb()), 0xE1, b"Exif\0\0" + exif(entry, *more))
    assert np.abs(colours(file) - expected).max() <= 4


@pytest.mark.parametrize(
    "text",
    [
        "tiff:Orientation='6'",
        'tiff:Orientation = "6"',
        "<tiff:Orientation>6</tiff:Orientation>",
        "<tiff:Orientation> 6\n</tiff:Orientation>",
    ],
)
def test_ways_to_write_the_orientation_in_xmp(text):
    for kind in ("PNG", "WEBP"):
        if kind == "PNG":
            file = with_chunk(encode(rgb(), kind), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text.encode())
        else:
            file = encode(rgb(), kind, lossless=True, xmp=text.encode())
        assert (colours(file) == TURNED).all()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("entry", [SIX, (0x0112, 1, 1, b"\6\0\0\0"), (0x0112, 11, 1, struct.pack("<f", 6))])
@pytest.mark.parametrize("fault", [(), (b"gAMA", b""), (b"pHYs", b"short")])
def test_exif_data_that_a_png_file_holds_as_text(compressed, entry, fault):
    data = (b"Exif\0\0" + exif(entry)).hex().encode()
    text = b"\nexif\n      12\n" + data[:20] + b"\n" + data[20:] + b"\n"
    key = b"Raw profile type exif\0"
    name, content = (b"zTXt", key + b"\0" + zlib.compress(text)) if compressed else (b"tEXt", key + text)
    file = with_chunk(encode(rgb(), "PNG"), name, content)
    assert (colours(with_chunk(file, *fault) if fault else file) == TURNED).all()


def test_without_exif_the_orientation_of_xmp_counts():
    file = with_segment(jpeg(rgb()), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    for data in (file, with_segment(file, 0xE1, b"Exif\0\0MM\0"), with_segment(file, 0xE2, b"MPF\0" + bytes(9))):
        assert np.abs(colours(data) - TURNED).max() <= 4


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1\2no profile"),
        (0xE2, b"MPF\0II*\0\x08\0\0\0\xff"),
        (0xE2, b"MPF\0"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\1x"),
        (0xE0, b"JFIF\0"),
        (0xEE, b"Adobe"),
    ],
)
def test_faults_in_segments_of_jpeg(marker, content):
    assert np.abs(colours(with_segment(jpeg(rgb()), marker, content)) - COLOURS).max() <= 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iCCP", b"no end"),
        (b"iCCP", b"profile\0\1" + zlib.compress(b"no profile")),
        (b"eXIf", b"II"),
        (b"zTXt", b"Comment\0\7text"),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),  # more text than Pillow takes
        (b"tEXt", b"Raw profile type exif\0\nexif\n      12\nno hex"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe"),
        (b"gAMA", b"\0"),
        (b"cHRM", b"short"),
        (b"pHYs", b""),
        (b"fcTL", b"\0\0\0\7" + bytes(30)),
        (b"sBIT", b""),
        (b"tRNS", b"\0"),
        (b"tRNS", bytes(300)),
    ],
)
@pytest.mark.parametrize("checksum", ["right", "wrong"])
def test_faults_in_chunks_of_png(name, content, checksum):
    data = with_chunk(encode(rgb(), "PNG"), name, content)
    if checksum == "wrong":
        good = chunk(name, content)
        data = data.replace(good, good[:-4] + b"\0\0\0\0")
    assert (colours(data) == COLOURS).all()


@pytest.mark.parametrize(
    "tags",
    [
        [(296, "h", 1, -1)],  # the unit of the resolution
        [(282, "s", 0, "many"), (283, "i", 1, -1)],
        [(700, "f", 1, float("nan"))],  # XMP
        [(34675, "H", 3, (1, 2, 3))],  # an ICC profile
        [(33723, "d", 1, float("nan")), (34377, "H", 2, (1, 2))],  # IPTC and Photoshop
        [(34665, "I", 1, 2**31)],  # EXIF beyond the end
    ],
)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}])
def test_faults_in_tags_of_tiff(tags, options):
    buffer = io.BytesIO()
    extra = [(*entry, True) for entry in [(274, "H", 1, 6), *tags]]
    resolution = {"resolution": None} if any(entry[0] in (282, 296) for entry in tags) else {}
    tifffile.imwrite(
        buffer, np.asarray(rgb()), photometric="rgb", metadata=None, extratags=extra, **resolution, **options
    )
    assert (colours(buffer.getvalue()) == TURNED).all()


@pytest.mark.parametrize("data", [exif(*ODD_TAGS["negative unit"], SIX), b"II*\0", b"\xff" * 30])
def test_heic_is_turned_once_and_whatever_its_exif_data(data):
    made = Image.Exif()
    made[MAKER] = "m" * 60
    file = heic(rgb(), exif=made.tobytes())
    faulty = re.sub(re.escape(made.tobytes()[6:]), data.ljust(len(made.tobytes()) - 6, b"\0").replace(b"\\", b""), file)
    assert faulty != file
    assert np.abs(colours(faulty) - COLOURS).max() <= 6  # libheif turns; HEIF's EXIF data does not count


def test_the_orientation_of_avif_stays_where_its_exif_data_is_faulty():
    made = Image.Exif()
    made[0x0112], made[MAKER] = 6, "m" * 60
    file = encode(rgb(), "AVIF", quality=95, subsampling="4:4:4", exif=made)
    content = made.tobytes()[6:]
    faulty = exif(*ODD_TAGS["negative unit"], SIX).ljust(len(content), b"\0")
    for data in (faulty, b"II".ljust(len(content), b"\0")):
        assert content in file
        assert np.abs(colours(file.replace(content, data)) - TURNED).max() <= 8


def test_too_many_pixels_are_named_whatever_the_metadata():
    with pytest.raises(ValueError, match="more than data.max_pixels"):
        decode(with_chunk(encode(rgb(), "PNG"), b"gAMA", b""), 32, max_pixels=99)


def test_the_profile_stays_where_other_metadata_is_faulty():
    file = jpeg(rgb(), icc_profile=swapped_profile())
    faulty = with_segment(with_segment(file, 0xE2, b"MPF\0II*\0\x08\0\0\0\xff"), 0xE1, b"Exif\0\0" + exif(SIX))
    assert np.abs(colours(faulty) - TURNED[:, [1, 0, 2]]).max() <= 6


def test_a_truncated_image_stays_an_error_whatever_its_metadata():
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    for kind, marker in (("JPEG", 0xE1), ("PNG", None)):
        data = encode(noise, kind)[:-500]
        data = with_segment(data, marker, b"Exif\0\0II") if marker else with_chunk(data, b"gAMA", b"")
        with pytest.raises(ValueError, match=r".+"):
            colours(data)
