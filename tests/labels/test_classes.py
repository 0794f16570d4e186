"""Which labels are used as classes."""

import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import sources
from tests.labels.support import touch


def find(folder, **settings):
    found = sources.find(params.Data(images=str(folder), **settings))
    return {image.class_name for image in found.images}, found.notes


NAMES = [
    "no_label",
    "_unlabeled",
    "unlabelled",
    "Unlabeled",
    "unknown",
    "UNKNOWN",
    "not labeled",
    "unsorted",
    "unassigned",
    "nan",
]


@pytest.mark.parametrize("name", NAMES)
def test_unlabelled_images_are_no_class_unless_data_classes_names_them(tmp_path, name):
    touch(tmp_path, "cat/{0..9}.jpg", "dog/{0..9}.jpg", f"{name}/{{0..9}}.jpg")
    found, [note] = find(tmp_path)
    assert found == {"cat", "dog"}
    assert (
        f"left out as unlabelled: {name!r} (10 images)" in note and f"data.classes names all: [cat,dog,{name}]" in note
    )
    assert find(tmp_path, classes=["cat", "dog", name]) == ({"cat", "dog", name}, [])


@pytest.mark.parametrize("name", ["unknown animal", "label", "known", "other", "background", "none", "untidy"])
def test_other_names_stay_classes(tmp_path, name):
    assert find(touch(tmp_path, "cat/1.jpg", f"{name}/1.jpg")) == ({"cat", name}, [])


def test_unlabelled_images_of_splits_and_tables(tmp_path):
    splits = touch(
        tmp_path / "splits", *(f"{x}/{y}/1.jpg" for x in ("train", "val") for y in ("cat", "dog", "no_label"))
    )
    assert find(splits)[0] == {"cat", "dog"}
    folder = touch(tmp_path / "mine", "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n1,cat\n2,dog\n3,Unlabeled\n")
    assert find(folder, labels=str(table))[0] == {"cat", "dog"}
    table.write_text("path,label\n1,0\n2,1\n3,-1\n")  # as Hugging Face's ClassLabel counts what has no label
    found, [note] = find(folder, labels=str(table))
    assert found == {"0", "1"} and "'-1' (1 image)" in note


def test_one_class_beside_unlabelled_images_is_too_few_and_the_error_says_what_was_left_out(tmp_path):
    with pytest.raises(UserError, match=r"has only 'known'.*left out as unlabelled: 'unknown'.*\[known,unknown\]"):
        find(touch(tmp_path, "known/1.jpg", "unknown/1.jpg"))


def test_some_of_the_classes(tmp_path):
    touch(tmp_path, "bird/1.jpg", "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")
    found, [note] = find(tmp_path, classes=["bird", "cat"])
    assert found == {"bird", "cat"} and note.endswith("does not name them: 'dog' (2 images).")
    with pytest.raises(
        UserError, match="data.classes names 'lynx', but no image has that label; there are 'bird', 'cat'"
    ):
        find(tmp_path, classes=["cat", "lynx"])
    with pytest.raises(UserError, match="only 'cat'.*'bird' .1 image., 'dog' .2 images."):
        find(tmp_path, classes=["cat"])


@pytest.mark.parametrize("alike", [("1", "1.0"), ("001", "1"), ("-0.50", "-0.5"), ("2", "2.")])
def test_numbers_that_are_written_in_two_ways_are_named(tmp_path, alike):
    _, [note] = find(touch(tmp_path, *(f"{name}/1.jpg" for name in (*alike, "cat"))))
    assert all(ascii(name) in note for name in alike) and "the way a number is written" in note


def test_numbers_that_differ_in_the_last_digit_are_not_alike(tmp_path):
    assert find(touch(tmp_path, "12345678901231/1.jpg", "12345678901232/1.jpg"))[1] == []


@pytest.mark.parametrize(
    "labels",
    [
        ["clear", "clear road", "cloudy", "road", "cloudy road", "road clear", "road cloudy"],
        ["cat", "cat, dog", "dog", "bird,dog", "bird"],
        ["a|b", "a", "b|c", "c|b", "a|b|c"],
        ["cat", "dog", "cat;dog"],
    ],
)
def test_tags_are_several_labels(tmp_path, labels):
    rows = [f'{place}.jpg,"{label}"' for place, label in enumerate(labels)]
    folder = touch(tmp_path / "mine", *(f"{place}.jpg" for place in range(len(labels))))
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(rows))
    with pytest.raises(UserError, match="one class per image; several labels are not supported"):
        find(folder, labels=str(tmp_path / "t.csv"))
    assert find(folder, labels=str(tmp_path / "t.csv"), classes=labels)[0] == set(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["golden retriever", "labrador retriever", "siamese cat", "persian cat"],
        ["alpaca", "not alpaca"],
        ["red circle", "red square", "blue circle", "blue square", "green circle", "green square"],
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "hen"],
        ["ripe apple", "unripe apple", "ripe banana", "unripe banana", "apple", "banana"],
        ["left", "right", "left turn", "right turn", "turn"],
    ],
)
def test_names_of_several_words_are_classes(tmp_path, labels):
    rows = [f'{place}.jpg,"{label}"' for place, label in enumerate(labels)]
    folder = touch(tmp_path / "mine", *(f"{place}.jpg" for place in range(len(labels))))
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(rows))
    assert find(folder, labels=str(tmp_path / "t.csv"))[0] == set(labels)


@pytest.mark.parametrize(
    ("step", "images", "refused"), [(0.7, 60, True), (1, 60, True), (1, 20, False), (0.5, 5, False)]
)
def test_measured_numbers_are_no_classes(tmp_path, step, images, refused):
    folder = touch(tmp_path / "mine", *(f"{place}.jpg" for place in range(images)))
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{x}.jpg,{x * step:g}\n" for x in range(images)))
    if refused:
        with pytest.raises(UserError, match=r"Estimating numbers \(regression\) is not supported"):
            find(folder, labels=str(tmp_path / "t.csv"))
    else:
        assert len(find(folder, labels=str(tmp_path / "t.csv"))[0]) == images
