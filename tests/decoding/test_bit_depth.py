import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.decoding import bit_depth
from stages.decoding.decode import decode
from tests.decoding.image_files import (
    COLOURS,
    GREYS,
    GREYS_AS_RGB,
    ON_WHITE,
    chunk,
    colours,
    encode,
    grey,
    png_16_bits,
    quadrants,
    tiff,
)

DEEP_GREYS, DEEP_COLOURS = (GREYS * 257).astype(np.uint16), (COLOURS * 257).astype(np.uint16)


@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"tile": (32, 32)}, {"bigtiff": True}]
)
def test_greys_of_which_0_is_white(options):
    data = tiff(65535 - DEEP_GREYS, photometric="miniswhite", **options)
    assert (colours(data) == GREYS_AS_RGB).all()


def test_floating_point_greys_of_which_0_is_white():
    data = tiff((1 - GREYS / 255).astype(np.float32), photometric="miniswhite")
    assert np.abs(colours(data) - GREYS_AS_RGB).max() <= 1


@pytest.mark.parametrize(
    "options",
    [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"tile": (16, 16)}, {"rowsperstrip": 7}, {"bigtiff": True}],
)
def test_planes_of_colours(options):
    data = tiff(DEEP_COLOURS, planes=True, photometric="rgb", planarconfig="separate", **options)
    assert (colours(data) == COLOURS).all()


def test_planes_of_colours_and_transparency():
    alpha = np.array([[0], [round(65535 * 0.4)], [65535], [65535]], np.uint16)
    options = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    data = tiff(np.hstack([DEEP_COLOURS, alpha]), planes=True, **options)
    assert np.abs(colours(data) - ON_WHITE).max() <= 1


def test_planes_are_turned():
    turn = [(274, "H", 1, 6, True)]
    data = tiff(DEEP_COLOURS, planes=True, photometric="rgb", planarconfig="separate", extratags=turn)
    assert (colours(data).reshape(2, 2, 3) == np.rot90(COLOURS.reshape(2, 2, 3), -1)).all()


@pytest.mark.parametrize(
    ("color_type", "values", "key", "expected"),
    [
        (0, DEEP_GREYS, [DEEP_GREYS[0]], [(255,) * 3, *GREYS_AS_RGB[1:]]),
        (0, DEEP_GREYS, [DEEP_GREYS[0] + 1], GREYS_AS_RGB),  # another grey, though of the same 8 bits
        (2, DEEP_COLOURS, DEEP_COLOURS[0], [(255,) * 3, *COLOURS[1:]]),
        (2, DEEP_COLOURS - [[0, 7, 0]], DEEP_COLOURS[1] - [0, 7, 0], [COLOURS[0], (255,) * 3, *COLOURS[2:]]),
        (2, DEEP_COLOURS, DEEP_COLOURS[0] + [0, 0, 1], COLOURS),
    ],
)
def test_the_transparency_key_of_16_bits(color_type, values, key, expected):
    data = png_16_bits(color_type, values, more=chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    assert np.abs(colours(data) - expected).max() <= 1


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("stated", ["MaxSampleValue", "OME"])
def test_fewer_bits_than_16_where_the_file_says_so(bits, stated):
    values = (GREYS << (bits - 8)).astype(np.uint16)
    if stated == "OME":
        data = tiff(values, description=f'<OME><Pixels SignificantBits="{bits}"/></OME>', metadata=None)
    else:
        data = tiff(values, extratags=[(281, "H", 1, 2**bits - 1, True)])
    assert (colours(data) == GREYS_AS_RGB).all()


def test_packed_values_of_12_bits():
    values = quadrants(GREYS << 4).ravel()
    packed = np.stack([values[::2] >> 4, (values[::2] & 15) << 4 | values[1::2] >> 8, values[1::2] & 255], 1)
    data = bytearray(tiff(np.zeros(4, np.uint16), photometric="minisblack", metadata=None))
    place = data.index(struct.pack("<HHI", 258, 3, 1))
    data[place + 8] = 12
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        [start] = file.pages[0].dataoffsets
    data[start : start + packed.size] = packed.astype(np.uint8).tobytes()
    assert (colours(bytes(data)) == GREYS_AS_RGB).all()


@pytest.mark.parametrize(
    "data",
    [
        *(tiff((GREYS << (bits - 8)).astype(np.uint16)) for bits in (8, 10, 12, 14)),
        tiff((GREYS << 4).astype(np.int16)),
        tiff((GREYS << 4).astype(np.int32)),
        tiff((GREYS << 4).astype(np.uint16), extratags=[(281, "H", 1, 3840, True)]),  # the largest value that occurs
        tiff((COLOURS << 4).astype(np.uint16), photometric="rgb"),
        tiff((COLOURS << 4).astype(np.uint16), planes=True, photometric="rgb", planarconfig="separate"),
        png_16_bits(0, GREYS << 4),
        png_16_bits(0, GREYS << 4, more=chunk(b"sBIT", b"\x0c")),
        png_16_bits(2, COLOURS << 4),
        encode(Image.fromarray(quadrants(GREYS << 4).astype(np.uint16)), "JPEG2000"),
        encode(Image.fromarray(quadrants(GREYS << 4).astype(np.uint16)), "JPEG2000", no_jp2=True),
    ],
)
def test_values_that_may_be_of_fewer_bits_are_refused_by_name(data):
    with pytest.raises(ValueError, match="16 bits per channel, but no value needs more than 14 bits"):
        colours(data)


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.zeros(4, np.uint16)),
        png_16_bits(2, np.zeros((4, 3), int)),
        png_16_bits(0, GREYS, more=chunk(b"sBIT", b"\x10")),  # dark, of 16 bits
        tiff(GREYS.astype(np.uint16), extratags=[(281, "H", 1, 65535, True)]),
    ],
)
def test_black_and_what_is_known_to_be_dark_is_read(data):
    assert (colours(data) == 0).all()


def test_signed_values_reach_white_at_their_highest_value():
    assert (colours(tiff((GREYS << 7).astype(np.int16))) == GREYS_AS_RGB).all()


def test_formats_that_scale_to_16_bits_themselves_may_be_dark():
    dark = b"P5 2 2 65535\n" + struct.pack(">4H", *(GREYS.astype(int)))
    assert (colours(dark) == 0).all()
    twelve = b"P5 64 64 4095\n" + quadrants(GREYS << 4).astype(">u2").tobytes()
    assert np.abs(colours(twelve) - GREYS_AS_RGB).max() <= 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            tiff((COLOURS << 4).astype(np.uint16), photometric="rgb", extratags=[(281, "H", 3, (4095,) * 3, True)]),
            "colours of 16 bits, but white is 4095",
        ),
        (tiff((GREYS // 2).astype(np.int8)), "1 signed channel of 8 bits"),
        (tiff((GREYS - 128).astype(np.int8)), "1 signed channel of 8 bits"),
        (tiff(GREYS / 255), "1 floating-point channel of 64 bits"),
        (tiff((COLOURS / 255).astype(np.float32), photometric="rgb"), "3 floating-point channels of 32 bits"),
        (
            tiff(np.hstack([COLOURS, COLOURS]).astype(np.uint8), photometric="minisblack", planarconfig="contig"),
            "6 channels of 8 bits",
        ),
        (tiff(np.stack([DEEP_GREYS] * 2, 1), photometric="minisblack", planarconfig="contig"), "2 channels of 16 bits"),
        (
            tiff(np.hstack([DEEP_COLOURS, DEEP_COLOURS]), planes=True, photometric="rgb", planarconfig="separate"),
            "6 channels of 16 bits",
        ),
    ],
)
def test_other_channels_are_refused_by_name(data, words):
    with pytest.raises(ValueError, match=words):
        colours(data)


def test_many_rows_are_converted_as_few_are(tmp_path):
    values = np.linspace(0, 65535, 3000).astype(np.uint16)[:, np.newaxis].repeat(4, 1)
    Image.fromarray(values).save(tmp_path / "deep.png")
    Image.fromarray((values >> 8).astype(np.uint8)).save(tmp_path / "plain.png")
    assert (decode(tmp_path / "deep.png", 64)[2] == decode(tmp_path / "plain.png", 64)[2]).all()


def test_jpeg_2000_of_16_bits():
    data = encode(Image.fromarray(quadrants(DEEP_GREYS)), "JPEG2000")
    assert (colours(data) == GREYS_AS_RGB).all()


def test_the_transparency_key_of_16_bits_is_turned_with_the_image():
    turn = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    more = chunk(b"eXIf", turn) + chunk(b"tRNS", struct.pack(">3H", *DEEP_COLOURS[0]))
    expected = np.rot90(np.array([(255,) * 3, *COLOURS[1:]]).reshape(2, 2, 3), -1).reshape(4, 3)
    assert (colours(png_16_bits(2, DEEP_COLOURS, more=more)) == expected).all()


def test_8_bits_stay_as_they_are():
    assert (colours(encode(grey(), "TIFF")) == GREYS_AS_RGB).all()


# Four pixels: red, green, white and black, in 10 and in 16 bits, as OpenJPEG 2.5.4 writes them.
DEEP_JPEG_2000 = {
    10: "ff4fff51002f0000000000020000000200000000000000000000000200000002000000000000000000030901010901010901"
    "01ff52000c00000001010004040001ff5c00044050ff90000a0000000000260001ff93dfb03810428a0ad5d83fcfcc100e517b"
    "7fdfb0200341465fffd9",
    16: "ff4fff51002f0000000000020000000200000000000000000000000200000002000000000000000000030f01010f01010f01"
    "01ff52000c00000001010004040001ff5c00044080ff90000a00000000002d0001ff93dff8904810428f5c385f977161cffc30"
    "140e517a00bfdff890280341465979ffd9",
}


@pytest.mark.parametrize("bits", DEEP_JPEG_2000)
@pytest.mark.parametrize("in_box", [False, True])
def test_colours_of_jpeg_2000_of_more_than_8_bits_are_refused(bits, in_box):
    data = bytes.fromhex(DEEP_JPEG_2000[bits])
    assert Image.open(io.BytesIO(data)).getpixel((0, 1)) == (0, 0, 0)  # Pillow reads white as black
    if in_box:
        boxes = encode(Image.new("RGB", (2, 2)), "JPEG2000")
        data = boxes[: boxes.index(b"jp2c") + 4] + data
        data = data.replace(struct.pack(">IIHB", 2, 2, 3, 7), struct.pack(">IIHB", 2, 2, 3, bits - 1))
    with pytest.raises(ValueError, match=f"JPEG 2000 of {bits} bits per channel, .* save it with 8 bits"):
        decode(data, 32)


def test_transparent_grey_of_jpeg_2000_of_more_than_8_bits_is_refused():
    data = bytearray(bytes.fromhex(DEEP_JPEG_2000[16]))
    data[40 + 2 : 40 + 2 + 9] = bytes([15, 1, 1, 15, 1, 1, 7, 1, 1])  # components of several depths
    with pytest.raises(ValueError, match="JPEG 2000 of 16 bits per channel"):
        decode(bytes(data), 32)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_levels_of_jpeg_2000_are_read(bits):
    image = Image.fromarray(
        (quadrants(GREYS) * (257 if bits == 16 else 1)).astype(np.uint16 if bits == 16 else np.uint8)
    )
    assert (decode(encode(image, "JPEG2000"), 64)[2] == quadrants(GREYS)[..., np.newaxis]).all()


@pytest.mark.parametrize(
    ("lowest", "highest", "white"),
    [
        (0, 1, 1),
        (0, 1.0001, 1),
        (-1e-7, 1, 1),
        (-0.02, 1.02, 1),
        (0, 0, 1),
        (0, 255, 255),
        (-3, 258, 255),
        (0, 16, 255),
    ],
)
def test_white_of_floating_point_images(lowest, highest, white):
    assert bit_depth.white_of_floats(lowest, highest) == white


@pytest.mark.parametrize(
    ("lowest", "highest", "words"),
    [(0, 1.1, "may be from 0 to 1 or"), (0, 1.9, "up to 1.9"), (-1, 1, "from -1 to 1"), (0, 999, "from 0 to 999")]
    + [(0, np.nan, "to nan"), (-30, 200, "from -30")],
)
def test_floating_point_images_of_unknown_white_are_refused(lowest, highest, words):
    with pytest.raises(ValueError, match=words):
        bit_depth.white_of_floats(lowest, highest)
