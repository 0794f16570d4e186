import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from stages.decoding.decode import decode
from stages.model import serving_decoder
from tests.benchmarks.fuzz import PNG, chunk

SIZE = 32
decode_in_graph = tf.function(
    lambda data: serving_decoder.decode(data, SIZE, "white"), input_signature=[tf.TensorSpec([], tf.string)]
)
COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(data, tmp_path):
    """The largest difference to what split packs of the same file, in values from 0 to 255."""
    (tmp_path / "image").write_bytes(data)
    return np.abs(decode(tmp_path / "image", SIZE)[2].astype(int) - decode_in_graph(data).numpy()).max()


@pytest.mark.parametrize("size", [(5, 90), (31, 33), (64, 70), (150, 130), (300, 257)])  # libjpeg scales by 1, 2, 4, 8
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reads_the_pixels_that_split_packs(tmp_path, kind, size):
    image = COLOURS.resize(size, Image.Resampling.BICUBIC)
    assert difference(encode(image, kind), tmp_path) <= 1
    assert difference(encode(image.convert("L"), kind), tmp_path) <= 1
    if kind == "JPEG":
        assert difference(encode(image.convert("CMYK"), kind, progressive=True), tmp_path) <= 1


@pytest.mark.parametrize("orientation", range(10))  # 1 to 8 have a meaning
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_turns_the_image_as_exif_says(tmp_path, kind, order, orientation):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112], exif[0x0131] = "maker", orientation, "program"
    image = COLOURS.resize((40, 50), Image.Resampling.BICUBIC)
    assert difference(encode(image, kind, exif=exif), tmp_path) <= 1


def test_transparency_palettes_and_depths(tmp_path):
    rgb = COLOURS.resize((50, 40), Image.Resampling.BICUBIC)
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel(0))
    palette = rgb.quantize(13)
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 256 + 7)
    for image in (rgba, rgba.convert("LA"), palette, deep, rgb.convert("1")):
        assert difference(encode(image, "PNG"), tmp_path) <= 2, image.mode
    for bits in (2, 4, 8):
        assert difference(encode(palette, "PNG", bits=bits), tmp_path) <= 1
        assert difference(encode(palette, "PNG", bits=bits, transparency=bytes(range(0, 250, 50))), tmp_path) <= 2


@pytest.mark.parametrize("background", ["black", "tomato", "#0180fe"])
def test_transparent_images_are_composited_on_the_background(background):
    image = COLOURS.resize((50, 40), Image.Resampling.BICUBIC)
    image.putalpha(image.getchannel(0))
    data = encode(image, "PNG")
    seen = serving_decoder.decode(tf.constant(data), SIZE, background).numpy()
    assert np.abs(decode(data, SIZE, background=background)[2].astype(int) - seen).max() <= 2
    assert np.abs(decode(data, SIZE)[2].astype(int) - seen).max() > 50


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither JPEG nor PNG"),
        (encode(COLOURS, "GIF"), "neither JPEG nor PNG"),
        (encode(COLOURS, "JPEG")[:-30], "Invalid JPEG"),
        (encode(COLOURS, "PNG")[:-30], "Invalid PNG"),
        (PNG, "too many pixels, or none"),
        (PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)), "too many pixels"),
        (
            encode(COLOURS, "JPEG").replace(b"\x08\0\x06\0\x08", b"\x08\x75\x30\x75\x30"),
            "too many pixels",
        ),  # 30,000 twice
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_own(data, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        decode_in_graph(data)
