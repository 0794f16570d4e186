import hashlib
import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from stages.decoding.decode import decode, decode_image
from tests.decoding.image_files import (
    COLOURS,
    GREYS,
    ON_WHITE,
    colours,
    encode,
    heic,
    quadrants,
    rgb,
    rgba,
    stored,
    swapped_profile,
    with_orientation,
)


def test_a_file_without_permission(tmp_path, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied", "path")

    monkeypatch.setattr("builtins.open", deny)
    with pytest.raises(ValueError, match="^Permission denied$"):
        decode(tmp_path / "locked.png", 32)


def test_takes_the_content_of_a_file_as_well(tmp_path):
    for data in (encode(rgb(), "PNG"), heic(rgb())):
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
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored(upright, orientation).save(tmp_path / "turned.png", exif=exif)
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


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "renamed.jpg"])
def test_heic_is_turned_once(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / name).write_bytes(heic(stored(rgb(width=128, height=96), orientation), exif=exif.tobytes()))
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


def palette_with_alpha():
    image = rgb().quantize(4).convert("PA")
    image.putalpha(rgba().getchannel("A"))
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (rgb(), COLOURS),
        (rgb().convert("YCbCr"), COLOURS),
        (rgb().convert("CMYK"), COLOURS),
        (rgb().quantize(4), COLOURS),
        (rgba(), ON_WHITE),
        (rgba().convert("RGBa"), ON_WHITE),
        (palette_with_alpha(), ON_WHITE),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_images_in_memory_of_any_mode(image, expected):
    assert np.abs(decode_image(image, 64)[[16, 16, 48, 48], [16, 48, 16, 48]] - expected).max() <= 2


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_16_bits_in_memory_are_read_in_their_byte_order(mode):
    values = quadrants(GREYS * 257).astype(">u2" if mode == "I;16B" else "<u2")
    image = Image.frombytes(mode, (64, 64), values.tobytes())
    assert (decode_image(image, 64) == quadrants(GREYS)[..., np.newaxis]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_that_pillow_has_only_opened_is_turned_once_and_stays_open(kind):
    data = with_orientation(6, kind)
    image = Image.open(io.BytesIO(data))
    for _ in range(2):
        assert (
            np.abs(decode_image(image, 64).astype(int) - decode(data, 64)[2]).max() <= 20
        )  # JPEG: not scaled by libjpeg
    assert image.getpixel((0, 0))


def test_an_image_without_pixels():
    with pytest.raises(ValueError, match="an image without pixels"):
        decode_image(Image.new("RGB", (0, 5)), 32)
