import hashlib
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from stages.common.params import Data
from stages.decoding import decode as module
from stages.decoding.decode import MAX_PIXELS, decode
from tests.decoding import odd_files
from tests.decoding.odd_files import COLOURS, heic, quadrants, rgb, swapped_profile
from tests.support import make_images


def test_a_file_without_permission(tmp_path, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied", "path")

    monkeypatch.setattr("builtins.open", deny)
    with pytest.raises(ValueError, match="^Permission denied$"):
        decode(tmp_path / "locked.png", 32)


def test_what_is_no_image_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "film.jpg"
    path.write_bytes(b"\0\0\0\x14ftypisom")
    os.truncate(path, 1 << 40)  # a file of a terabyte that takes no room
    with pytest.raises(ValueError, match="a video"):
        decode(path, 32)


def test_takes_the_content_of_a_file_as_well(tmp_path):
    for data in (odd_files.encode(rgb(), "PNG"), heic(rgb())):
        (tmp_path / "image").write_bytes(data)
        of_path, of_content = decode(tmp_path / "image", 32), decode(data, 32)
        assert of_path[:2] == of_content[:2] and (of_path[2] == of_content[2]).all()
    for data, words in {b"": "an empty file", b"%PDF-1.7": "PDF", bytes(99): "zero bytes"}.items():
        with pytest.raises(ValueError, match=words):
            decode(data, 32)


def test_hashes_the_file_and_packs_a_square(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((10, 40, 3), (200, 30, 60), np.uint8)).save(path)
    sha256, shape, pixels = decode(path, 32)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert shape == (40, 10)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels == (200, 30, 60)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_exif_orientation(tmp_path, orientation):
    upright = Image.fromarray(np.zeros((64, 64, 3), np.uint8))
    upright.paste((255, 0, 0), (0, 0, 32, 32))  # red, upper left
    upright.paste((0, 255, 0), (32, 0, 64, 32))  # green, upper right
    # How a camera stores what shows upright under each orientation (EXIF 2.3, tag 0x0112).
    turns = Image.Transpose
    stored = {
        1: [],
        2: [turns.FLIP_LEFT_RIGHT],
        3: [turns.ROTATE_180],
        4: [turns.FLIP_TOP_BOTTOM],
        5: [turns.TRANSPOSE],
        6: [turns.ROTATE_90],
        7: [turns.TRANSVERSE],
        8: [turns.ROTATE_270],
    }
    image = upright
    for turn in stored[orientation]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.abs(decode(tmp_path / "turned.png", 64)[2].astype(int) - np.asarray(upright)).max() == 0


def test_grey_palette_16_bit_and_transparent_images(tmp_path):
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    Image.new("P", (8, 8), 0).save(tmp_path / "palette.png")
    Image.fromarray(np.full((8, 8), 77 * 256, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    seen = {path.stem: tuple(decode(path, 32)[2][16, 16].tolist()) for path in tmp_path.iterdir()}
    assert seen == {"grey": (77,) * 3, "palette": (0,) * 3, "deep": (77,) * 3, "clear": (255,) * 3}


def test_incomplete_images_and_other_files(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    for name, reason in {"half": "truncated", "text": "not an image", "empty": "an empty file"}.items():
        with pytest.raises(ValueError, match=reason):
            decode(tmp_path / f"{name}.jpg", 32)


def colours(path):
    """The colours of the quadrants of a file, as split packs them."""
    return decode(path, 64)[2][[16, 16, 48, 48], [16, 48, 16, 48]].astype(int)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "renamed.jpg"])
def test_heic_is_turned_once(tmp_path, name, orientation):
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    image, exif = rgb(width=128, height=96), Image.Exif()
    stored = image.transpose(turns[orientation]) if orientation in turns else image
    exif[0x0112] = orientation
    (tmp_path / name).write_bytes(heic(stored, exif=exif.tobytes()))
    assert decode(tmp_path / name, 64)[1] == (128, 96)
    assert np.abs(colours(tmp_path / name) - COLOURS).max() <= 6


def test_heic_of_10_bits_with_a_profile_or_transparency(tmp_path):
    deep = pillow_heif.from_bytes("RGB;16", (64, 64), quadrants(COLOURS * 257).astype(np.uint16).tobytes())
    deep.save(tmp_path / "deep", quality=95, chroma=444)
    assert pillow_heif.open_heif(tmp_path / "deep").info["bit_depth"] == 10
    (tmp_path / "profile").write_bytes(heic(rgb(), icc_profile=swapped_profile()))
    clear = rgb()
    clear.putalpha(0)
    (tmp_path / "clear").write_bytes(heic(clear))
    expected = {"deep": COLOURS, "profile": COLOURS[:, [1, 0, 2]], "clear": 255}
    for name, right in expected.items():
        assert np.abs(colours(tmp_path / name) - right).max() <= 8, name


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


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    make_images(tmp_path, {"a": 6})
    monkeypatch.setattr(module, "LARGE", 100)
    upright, running, most = module._upright, [], []
    together = threading.Barrier(2)

    def record(*arguments):
        running.append(1)
        most.append(len(running))
        try:
            together.wait(0.05)  # until another thread decodes as well
        except threading.BrokenBarrierError:
            together.reset()
        running.pop()
        return upright(*arguments)

    monkeypatch.setattr(module, "_upright", record)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: decode(path, 32), sorted((tmp_path / "a").iterdir())))
    assert max(most) == 1


def test_a_jpeg_photograph_of_200_megapixels_is_scaled_while_it_is_decoded(tmp_path, monkeypatch):
    Image.new("L", (16_320, 12_240)).save(tmp_path / "large.jpg")
    upright, sizes = module._upright, []
    monkeypatch.setattr(module, "_upright", lambda image, *more: sizes.append(image.size) or upright(image, *more))
    assert decode(tmp_path / "large.jpg", 224)[1] == (16_320, 12_240)
    assert sizes == [(2040, 1530)]


def test_predict_and_the_default_of_split_have_the_same_limit_of_pixels():
    assert MAX_PIXELS == Data().max_pixels
