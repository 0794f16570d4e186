"""Limits against files that would take too much time or memory. Tests lower them, so that small files reach them."""

import io
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.common.params import Data
from stages.decoding import decode as module, faulty_metadata, tiff
from stages.decoding.decode import MAX_PIXELS, decode, decode_image
from tests.decoding.image_files import COLOURS, encode, exif, heic, rgb, with_chunk
from tests.support import make_images


def test_what_is_no_image_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "film.jpg"
    path.write_bytes(b"\0\0\0\x14ftypisom")
    os.truncate(path, 1 << 40)  # a file of a terabyte that takes no room
    with pytest.raises(ValueError, match="a video"):
        decode(path, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "JPEG2000", "PPM", "HEIF"])
def test_the_limit_of_pixels_is_the_parameter_that_the_error_names(tmp_path, kind):
    data = io.BytesIO()
    if kind == "HEIF":
        data.write(heic(rgb(width=80, height=60)))
    else:
        rgb(width=80, height=60).save(data, kind)
    (tmp_path / "image").write_bytes(data.getvalue())
    assert decode(tmp_path / "image", 32, max_pixels=4800)[1] == (80, 60)
    with pytest.raises(ValueError, match=r"^80 x 60 pixels, more than data\.max_pixels, 4,799$"):
        decode(tmp_path / "image", 32, max_pixels=4799)


def test_pillow_s_own_limit_counts_for_others_only(tmp_path, monkeypatch):
    make_images(tmp_path, {"a": 8})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda path: decode(path, 32), sorted((tmp_path / "a").iterdir())))) == 8
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a/000.png")


def test_the_limit_of_pixels_holds_for_images_in_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 4799)
    with pytest.raises(ValueError, match=r"^80 x 60 pixels, more than data\.max_pixels, 4,799$"):
        decode_image(rgb(width=80, height=60), 32)


def another_large_image_may_be_decoded():
    free = module._one_at_a_time.acquire(blocking=False)
    if free:
        module._one_at_a_time.release()
    return free


@pytest.fixture
def kept_waiting(monkeypatch):
    """Whether each image that is decoded keeps other large ones waiting, asked from another thread."""
    answers, upright = [], module._upright

    def record(*arguments):
        answers.append(not thread.submit(another_large_image_may_be_decoded).result())
        return upright(*arguments)

    monkeypatch.setattr(module, "_upright", record)
    monkeypatch.setattr(module, "LARGE", 3000)
    with ThreadPoolExecutor(1) as thread:
        yield answers


@pytest.mark.parametrize(
    ("data", "large"),
    [
        (encode(rgb(width=8, height=8), "PNG"), False),
        (encode(rgb(width=64, height=64), "PNG"), True),
        (with_chunk(encode(rgb(width=8, height=8), "PNG"), b"tEXt", b"Comment\0" + bytes(4000)), True),
        (encode(rgb(width=64, height=64), "JPEG"), False),  # libjpeg scales it while it decodes
        (encode(rgb(width=64, height=64), "JPEG", progressive=True), True),  # libjpeg holds all of it
    ],
    ids=["small", "many pixels", "many bytes", "baseline JPEG", "progressive JPEG"],
)
def test_large_images_are_decoded_one_at_a_time(kept_waiting, data, large):
    decode(data, 8)
    assert kept_waiting == [large]


@pytest.mark.parametrize(("side", "large"), [(8, False), (64, True)])
def test_large_images_in_memory_are_converted_one_at_a_time(kept_waiting, side, large):
    decode_image(rgb(width=side, height=side), 8)
    assert kept_waiting == [large]


def test_a_file_of_more_bytes_than_its_pixels_can_take_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MARGIN", 100)
    data = encode(rgb(width=8, height=8), "PNG")
    assert decode(data, 8, max_pixels=64)[1] == (8, 8)
    with pytest.raises(ValueError, match=r"^3,\d\d\d bytes, more than data\.max_pixels, 64 pixels, can take$"):
        decode(with_chunk(data, b"tEXt", b"Comment\0" + bytes(3000)), 8, max_pixels=64)


def test_only_the_first_directories_of_a_tiff_file_are_searched_for_a_sensor_s_values(monkeypatch):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for photometric in ("rgb", "rgb", 32803):  # a colour filter array
            writer.write(np.asarray(rgb() if photometric == "rgb" else rgb().convert("L")), photometric=photometric)
    with pytest.raises(ValueError, match="raw file"):
        decode(file.getvalue(), 8)
    monkeypatch.setattr(tiff, "MOST_DIRECTORIES", 2)
    assert decode(file.getvalue(), 8)[1] == (64, 64)


def test_only_the_first_bytes_of_compressed_text_are_read(monkeypatch):
    turned = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
    text = b"\nexif\n      26\n" + exif(turned).hex().encode()
    data = with_chunk(encode(rgb(), "PNG"), b"zTXt", faulty_metadata.RAW_PROFILE + b"\0" + zlib.compress(text))
    assert (decode(data, 64)[2][16, 16] == COLOURS[2]).all()
    monkeypatch.setattr(faulty_metadata, "MOST_TEXT", 30)
    assert (decode(data, 64)[2][16, 16] == COLOURS[0]).all()


@pytest.mark.parametrize("kind", ["PCX", "TGA", "ICO", "SGI", "DDS", "MSP", "SPIDER"])
def test_formats_that_pillow_reads_beyond_the_known_ones_are_refused(kind):
    image = {"MSP": rgb().convert("1"), "SPIDER": rgb().convert("F")}.get(kind, rgb())
    with pytest.raises(ValueError, match="not an image in a known format|^an icon|^DDS"):
        decode(encode(image, kind), 8)


def test_a_jpeg_photograph_of_200_megapixels_is_scaled_while_it_is_decoded(tmp_path, monkeypatch):
    Image.new("L", (16_320, 12_240)).save(tmp_path / "large.jpg")
    upright, sizes = module._upright, []
    monkeypatch.setattr(module, "_upright", lambda image, *more: sizes.append(image.size) or upright(image, *more))
    assert decode(tmp_path / "large.jpg", 224)[1] == (16_320, 12_240)
    assert sizes == [(2040, 1530)]


def test_predict_and_the_default_of_split_have_the_same_limit_of_pixels():
    assert MAX_PIXELS == Data().max_pixels
