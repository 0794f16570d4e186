import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from stages.images.decode import decode


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
    with pytest.raises(ValueError, match="not an image"):
        decode(path, 32)


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
