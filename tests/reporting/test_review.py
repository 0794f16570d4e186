"""Which images the page to check labels shows, why, in which order; how large they are; and that names are inert."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.reporting import formatting, review
from tests.reporting import review_support as made
from tests.reporting.review_support import corrected, labels, mistakes, near_duplicates, unreadable
from tests.support import MARKED_NAMES, PLAIN_NAMES, ROOT


def tables(paths="abcdefgh", **given):
    """Tables of images a to h, of the classes A and B in turn."""
    images = pd.DataFrame({"path": list(paths), "class": [("A", "B")[x % 2] for x in range(len(paths))]})
    images = images.assign(sha256=images["path"] * 4, split="train")
    return review.Tables(images=images, **made.EMPTY | given)


def order(units):
    return ["".join(item.path for item in unit) for unit in units]


def test_the_most_urgent_come_first_and_near_duplicates_stand_together():
    near = near_duplicates(
        (3, "a", "A", "train", 0, 0),
        (3, "c", "A", "train", 0, 0),
        (5, "d", "B", "train", 1, 0),
        (5, "e", "A", "test", 1, 0),
    )
    doubtful = labels(("f", "train", "B", "A"), ("b", "train", "B", "A"))
    wrong = mistakes(("train", "h", "B", "A", 0.7), ("train", "b", "B", "A", 0.6), ("test", "g", "A", "B", 0.9))
    units, left_out = review.select(
        tables(labels=doubtful, mistakes=wrong, near_duplicates=near, unreadable=unreadable(("x", "cut off")))
    )
    assert order(units) == ["de", "f", "b", "g", "h", "ac", "x"] and left_out == 0


@pytest.mark.parametrize(("path", "place"), [("a", 0), ("c", 0)])
def test_a_group_stands_where_its_most_urgent_image_would(path, place):
    near = near_duplicates((1, "a", "A", "train", 0, 0), (1, "c", "A", "train", 0, 0))
    doubtful = labels((path, "train", "A", "B"), ("f", "train", "B", "A"))
    units, _ = review.select(tables(labels=doubtful, near_duplicates=near))
    assert order(units)[place] == "ac" and len(units) == 2


def test_an_image_stands_once_with_all_reasons_and_the_classes_that_they_suggest():
    near = near_duplicates((1, "a", "A", "train", 1, 1), (1, "b", "B", "test", 1, 1))
    units, _ = review.select(
        tables(
            labels=labels(("a", "train", "A", "C")),
            mistakes=mistakes(("train", "a", "A", "D", 0.987)),
            near_duplicates=near,
            corrected=corrected(("a", "aaaa", "train", "label", "E", "A", "")),
        )
    )
    [[one, _]] = units
    assert one.suggestions == ["C", "D", "B"]  # three at most
    assert [*one.reasons.values()] == [
        "Doubtful: classifiers trained on other images give C 78%, the label 12%",
        "The model predicts D with 98.7%, although it was trained on this image",
        "One of 2 near-duplicates with different labels and splits",
        "The label was changed from E",
    ]


@pytest.mark.parametrize(
    ("decision", "given", "label", "text"),
    [
        ("label", "A", "A", "The label was confirmed"),
        ("new_class", "A", "C", "The label was changed from A"),
        ("label", "", "B", "It had no label"),
        ("drop", "A", "", "It was dropped"),
        ("unsure", "A", "A", "Somebody was unsure"),
    ],
)
def test_images_that_were_corrected_before_are_shown_last(decision, given, label, text):
    before = corrected(("z", "zzzz", "", decision, given, label, ""))
    units, _ = review.select(tables(labels=labels(("b", "train", "B", "A")), corrected=before))
    assert order(units) == ["b", "z"] and units[1][0].reasons == {"corrected": text}


def test_a_dropped_image_has_the_class_that_it_had_so_that_it_can_be_taken_back():
    units, _ = review.select(
        tables(unreadable=unreadable(("x", "cut off")), corrected=corrected(("y", "yyyy", "", "drop", "A", "", "")))
    )
    assert [(unit[0].label, unit[0].readable) for unit in units] == [("", False), ("A", True)]


@pytest.mark.parametrize("count", [1999, 2000, 2600])
def test_at_most_2000_images_are_shown_and_the_others_are_counted(count):
    paths = [f"{x:04}" for x in range(count)]
    units, left_out = review.select(tables(paths, labels=labels(*((path, "train", "A", "B") for path in paths))))
    assert order(units) == paths[:2000] and left_out == max(0, count - 2000)


def test_a_group_that_does_not_fit_is_left_out_whole():
    paths = [f"{x:04}" for x in range(2001)]
    near = near_duplicates(*((7, path, "A", "train", 0, 0) for path in paths[-2:]))
    doubtful = labels(*((path, "train", "A", "B") for path in paths[:1999]))
    units, left_out = review.select(tables(paths, labels=doubtful, near_duplicates=near))
    assert order(units) == paths[:1999] and left_out == 2


def test_of_each_split_the_most_confident_mistakes_are_shown():
    rows = [
        (split, f"{split}{x}", "A", "B", 0.9 - x / 1000 - place / 10000)
        for place, split in enumerate(["train", "test"])
        for x in range(203)
    ]
    units, left_out = review.select(tables(mistakes=mistakes(*rows)))
    assert order(units)[:3] == ["train0", "test0", "train1"] and len(units) == 400 and left_out == 6


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (4000, 100)])
def test_an_image_keeps_its_aspect_ratio_and_even_noise_takes_at_most_60_kb(size):
    width, height, webp = review.compress(noise(512), size, 512)
    assert len(webp) * 4 / 3 <= 60_000
    image = Image.open(io.BytesIO(webp))
    assert image.size == (width, height) and width / height == pytest.approx(size[0] / size[1], rel=0.25)
    assert (width, height, webp) == review.compress(noise(512), size, 512)


def test_a_smooth_image_has_all_pixels(tmp_path):
    made.picture(0, (1024, 512)).save(tmp_path / "a.png")
    shown = review.read_image(tmp_path / "a.png", 512, 10**6, "white")
    assert (shown.width, shown.height) == (512, 256)


def test_a_small_image_is_not_enlarged(tmp_path):
    made.picture(0, (60, 40)).save(tmp_path / "a.png")
    shown = review.read_image(tmp_path / "a.png", 512, 10**6, "white")
    assert (shown.width, shown.height) == (60, 40) and shown.sha256 == made.file_hash(tmp_path / "a.png")


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    made.picture(0, (600, 400)).save(tmp_path / "a.jpg", exif=exif)
    shown = review.read_image(tmp_path / "a.jpg", 300, 10**6, "white")
    assert (shown.width, shown.height) == (200, 300)


@pytest.mark.parametrize(
    ("classes", "digits"),
    [
        (["cat", "dog"], {"cat": "1", "dog": "2"}),
        ([*map(str, range(10))], {str(x): str(x) for x in range(10)}),  # 3 is the class 3
        (["0", "10", "3", "x"], {"0": "0", "3": "3"}),
        ([f"class {x}" for x in range(10)], {}),
        (["²", "٣"], {"²": "1", "٣": "2"}),
    ],
)
def test_a_digit_on_the_keyboard_stands_for_the_class_of_that_name(classes, digits):
    assert review.digits(classes) == digits


@pytest.mark.parametrize(
    ("count", "side"), [(0, 512), (300, 512), (301, 384), (700, 384), (701, 256), (1501, 224), (2000, 224)]
)
def test_many_images_are_smaller(count, side):
    assert review.longer_side(count) == side


@pytest.mark.parametrize("name", [*MARKED_NAMES, *PLAIN_NAMES, "__proto__", "constructor", "\u2028", "]]>"])
def test_a_name_is_inert_in_json_and_comes_back(name):
    text = formatting.as_json({name: [name]})
    assert text.isascii() and not set(text) & set("<>&\n\r") and json.loads(text) == {name: [name]}


def test_the_script_cannot_end_its_element():
    script = (ROOT / "stages/reporting/review.js").read_text(encoding="utf-8")
    assert "</" not in script.lower() and "<!--" not in script and "innerHTML" not in script
