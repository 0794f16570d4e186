"""Classes and given splits from folders and from file names."""

import collections
import os
import unicodedata

import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import sources
from tests.labels.support import touch
from tests.support import make_images


def find(folder, **settings):
    found = sources.find(params.Data(images=str(folder), **settings))
    return found.images, found.notes


def counts(images):
    """{(split, class): number of images}."""
    return dict(collections.Counter((image.split, image.class_name) for image in images))


def in_splits(*names, classes=("cat", "dog")):
    return [f"{name}/{kind}/{{0..9}}.jpg" for name in names for kind in classes]


def test_the_first_folder_is_the_class_however_deep_an_image_lies(tmp_path):
    images, notes = find(touch(tmp_path, "a/deep/1.jpg", "a/no ending", "b/2.png", "loose.png"))
    assert [(x.path, x.class_name) for x in images] == [("a/deep/1.jpg", "a"), ("a/no ending", "a"), ("b/2.png", "b")]
    assert notes == ["Left out: 1 file beside the class folders, such as loose.png."]


@pytest.mark.parametrize(
    ("counts", "words"), [({}, "has none"), ({"only": 3}, "has only 'only'"), ({"full": 2, "empty": 0}, "only 'full'")]
)
def test_fewer_than_two_classes(tmp_path, counts, words):
    make_images(tmp_path, counts)
    with pytest.raises(UserError, match=words):
        find(tmp_path)


@pytest.mark.skipif("sys.platform == 'darwin'", reason="its file system takes UTF-8 only")
def test_a_class_whose_name_is_no_text_is_named(tmp_path):
    make_images(tmp_path, {"a": 1, os.fsdecode(b"caf\xe9"): 1})
    with pytest.raises(UserError, match=r"caf\\udce9.*must be UTF-8"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("TRAIN", "dev", "TEST"),
        ("training_set", "eval", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("Train Images", "ValidationData", "test2017"),
        ("flowers-train", "flowers-valid", "flowers-test"),
        ("zip/photos/train", "zip/photos/val", "zip/photos/test"),
        ("train/images", "val/images", "test/images"),
        ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
        ("Training", None, "Testing"),
        ("train", "val", None),
        ("train", None, "test"),
        ("train", None, "holdout"),
        ("train", "dev", "eval"),  # as contests of speech and faces name them
        ("Train ", "Val ", "Test "),
        ("images/train", "images/val", None),
    ],
)
@pytest.mark.parametrize("split", ["auto", "random"])
def test_splits_that_come_with_the_data_are_never_classes(tmp_path, train, validation, test, split):
    names = {"train": train, "validation": validation, "test": test}
    images, notes = find(touch(tmp_path, *in_splits(*filter(None, names.values()))), split=split)
    if split == "auto":
        assert counts(images) == {(name, kind): 10 for name in names if names[name] for kind in ("cat", "dog")}
        cut = [name for name in names if not names[name]]
        assert "The folders are splits" in notes[-1] and all(f"{name} is cut from train" in notes[-1] for name in cut)
    else:
        assert {image.class_name for image in images} == {"cat", "dog"} and {image.split for image in images} == {""}


def test_splits_within_the_folders_of_classes(tmp_path):
    images, _ = find(touch(tmp_path, *in_splits("cat", "dog", classes=("train", "test"))))
    assert counts(images) == {(name, kind): 10 for name in ("train", "test") for kind in ("cat", "dog")}


def test_splits_within_classes_beside_other_folders_and_files(tmp_path):
    splits = in_splits("cat", "dog", classes=("train", "val", "test"))
    images, notes = find(touch(tmp_path, *splits, "cat/loose.jpg", "dog/pred/{0..9}.jpg"))
    assert len(images) == 60 and "'cat/loose.jpg', 'pred' beside them: left out" in notes[0]
    assert counts(find(tmp_path, split="random")[0]) == {("", "cat"): 31, ("", "dog"): 40}
    touch(tmp_path, "bird/{0..9}.jpg")
    with pytest.raises(UserError, match="'bird' is not divided into splits, as other folders are"):
        find(tmp_path)
    assert counts(find(tmp_path, split="random")[0])["", "bird"] == 10


@pytest.mark.parametrize("names", [("data", "results"), ("v1", "v2/deeper"), ("cat", "dog")])
def test_one_folder_that_is_divided_beside_one_that_is_not(tmp_path, names):
    touch(
        tmp_path, *in_splits(names[0], classes=("train/a", "train/b", "test/a", "test/b")), f"{names[1]}/{{0..9}}.jpg"
    )
    with pytest.raises(UserError, match=f"'{names[1].split('/')[0]}' is not divided into splits"):
        find(tmp_path)


def test_sub_folders_of_several_classes_do_not_make_up_splits(tmp_path):
    touch(tmp_path, "vehicle/train/{0..9}.jpg", "vehicle/car/{0..9}.jpg", "lab/test/{0..9}.jpg", "lab/tube/{0..9}.jpg")
    assert counts(find(tmp_path)[0]) == {("", "vehicle"): 20, ("", "lab"): 20}


@pytest.mark.parametrize("others", [["extra"], ["entrainement", "test"], ["query", "gallery"], ["trainval"]])
@pytest.mark.parametrize("split", ["auto", "random"])
def test_folders_that_look_like_splits_of_unknown_names_are_refused(tmp_path, others, split):
    touch(tmp_path, *in_splits("valid", *others))
    with pytest.raises(UserError, match="'valid'.* look like splits: all hold 'cat', 'dog'. Name them train"):
        find(tmp_path, split=split)


@pytest.mark.parametrize("texts", ["labels/train/1.txt", "annotations/all.json", "images/train/boxes/1.xml"])
def test_folders_of_tables_and_texts_alone_are_no_classes(tmp_path, texts):
    images, notes = find(touch(tmp_path, *in_splits("images/train", "images/val"), texts))
    assert counts(images) == {(split, kind): 10 for split in ("train", "validation") for kind in ("cat", "dog")}
    assert notes[0] == f"No images, but tables or texts: {os.path.dirname(texts)}. They are left out."


@pytest.mark.parametrize("beside", ["pred/{0..9}.jpg", "extra/cat/{0..9}.jpg", "unlabeled/images/{0..9}.jpg"])
def test_a_fourth_folder_is_left_out_and_named(tmp_path, beside):
    images, notes = find(touch(tmp_path, *in_splits("train", "val", "test"), beside))
    assert len(images) == 60 and f"{beside.split('/')[0]!r} beside them: left out" in notes[0]


@pytest.mark.parametrize("test", ["test/{0..9}.jpg", "test/images/{0..9}.jpg", "test/unknown/{0..9}.jpg"])
def test_a_test_split_without_labels_is_refused_with_ways_out_that_keep_the_classes(tmp_path, test):
    touch(tmp_path, *in_splits("train", "val"), test)
    with pytest.raises(UserError, match="'test' is the test split, but has 10 images without a class folder"):
        find(tmp_path)
    images, notes = find(tmp_path, split="random")
    assert {"cat", "dog"} == {image.class_name for image in images}
    assert "10 files outside of class folders are left out" in notes[-1]


def test_splits_without_class_folders_or_without_train_are_refused(tmp_path):
    touch(tmp_path / "flat", "train/{0..9}.jpg", "test/{0..9}.jpg")
    with pytest.raises(UserError, match="'train' is a split, but has 10 files without a class folder"):
        find(tmp_path / "flat")
    touch(tmp_path / "no train", *in_splits("val", "test"))
    with pytest.raises(UserError, match="'test', 'val' are named like splits, but none is for training"):
        find(tmp_path / "no train")


@pytest.mark.parametrize(
    "names", [("train", "bus", "car"), ("valid", "invalid"), ("test", "control"), ("train station", "test tube", "cup")]
)
def test_classes_that_sound_like_a_split_stay_classes(tmp_path, names):
    images, notes = find(touch(tmp_path, *(f"{name}/{{0..9}}.jpg" for name in names)))
    assert counts(images) == {("", name): 10 for name in names}
    known = {"train", "valid", "test"} & set(names)
    assert [note for note in notes if "named like a split" in note] == [
        f"WARNING: {name!r} is a class here, but named like a split." for name in known
    ]


@pytest.mark.parametrize("root", ["archive", "archive/PetImages", "a b/c (1)/d"])
def test_a_lone_folder_around_the_classes_is_ignored_and_named(tmp_path, root):
    images, notes = find(touch(tmp_path, f"{root}/cat/{{0..9}}.jpg", f"{root}/dog/{{0..9}}.jpg", f"{root}/README.txt"))
    assert counts(images) == {("", "cat"): 10, ("", "dog"): 10} and root in notes[0]


def test_a_lone_class_with_deeper_folders_is_no_wrapper(tmp_path):
    with pytest.raises(UserError, match="only 'cat'"):
        find(touch(tmp_path, "cat/{0..9}.jpg", "cat/old/{0..9}.jpg", "cat/new/{0..9}.jpg"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "Cat"), ("cat", "cat "), ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")), ("STRASSE", "straße")],
)
def test_classes_that_differ_only_by_case_unicode_form_or_blanks_are_named(tmp_path, one, other):
    _, notes = find(touch(tmp_path, f"{one}/1.jpg", f"{other}/2.jpg", "dog/3.jpg"))
    [note] = notes
    assert ascii(one) in note and ascii(other) in note and "differ only by" in note


def test_folders_as_cameras_number_them_are_doubtful_classes(tmp_path):
    [_, note] = find(touch(tmp_path, "DCIM/100CANON/IMG_0001.JPG", "DCIM/101CANON/IMG_0101.JPG"))[1]
    assert note == "WARNING: the classes, such as '100CANON', are folders as cameras number them."
    assert find(touch(tmp_path / "more", "100CANON/1.jpg", "cat/1.jpg"))[1] == []


def test_empty_folders_are_named(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    for name in ("bird", "cat/more/none", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
    assert find(tmp_path)[1] == ["Folders without any image: bird, cat/more."]


def test_classes_that_hold_the_same_folders_are_doubtful(tmp_path):
    names = [f"{kind}/{name}/1.jpg" for kind in ("color", "grayscale") for name in ("apple", "corn", "grape")]
    [note] = find(touch(tmp_path, *names))[1]
    assert note.startswith("WARNING: the classes 'color', 'grayscale' hold the same 3 folders, such as 'apple'")
    assert (
        find(touch(tmp_path / "more", "cat/day1/1.jpg", "cat/day2/1.jpg", "dog/day1/1.jpg", "dog/day2/1.jpg"))[1] == []
    )


@pytest.mark.parametrize("skip", ["error", "skip"])
def test_placeholders_beside_the_class_folders_are_no_classes(tmp_path, skip):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg", "dog/.3.jpg.icloud", ".cover.jpg.icloud")
    (tmp_path / "cover.png").symlink_to(".git/annex/objects/cover.png")
    images, _ = find(tmp_path, on_unreadable=skip)
    assert [(x.path, x.class_name) for x in images if x.problem] == [("dog/3.jpg", "dog")]


def test_links_to_folders_are_named(tmp_path):
    touch(tmp_path / "disk", "cat/1.jpg")
    touch(tmp_path / "mine", "dog/1.jpg")
    (tmp_path / "mine/cat").symlink_to(tmp_path / "disk/cat")
    [note] = find(tmp_path / "mine")[1]
    assert "cat is a link to folders, which DVC does not follow" in note


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r"^(\w+)\.\d+", ["cat.1.jpg", "dog.2.jpg"]),
        (r"^(.+)_\d+", ["cat_1.jpg", "deep/dog_2.jpg"]),
        (r"-(cat|dog)\.", ["1-cat.jpg", "train/2-dog.jpg"]),
    ],
)
def test_classes_in_file_names(tmp_path, pattern, names):
    images, _ = find(touch(tmp_path, *names), label_pattern=pattern)
    assert [image.class_name for image in images] == ["cat", "dog"]


def test_files_that_the_pattern_does_not_fit(tmp_path):
    touch(tmp_path, "cat_1.jpg", "dog_2.jpg", "other.jpg", "more.jpg", "README.md")
    with pytest.raises(UserError, match=r"in 2 places.*: more.jpg \(data.label_pattern does not fit .*, other.jpg"):
        find(tmp_path, label_pattern=r"^(.+)_\d+")
    images, _ = find(tmp_path, label_pattern=r"^(.+)_\d+", on_unreadable="skip")
    assert [image.path for image in images if image.problem] == ["more.jpg", "other.jpg"]
    with pytest.raises(UserError, match=r"\^\(x\+\)y fits no file of .*, such as cat_1.jpg\. In cat_12.jpg"):
        find(tmp_path, label_pattern="^(x+)y")


def test_given_splits_and_classes_in_file_names(tmp_path):
    touch(tmp_path, "train/cat.{0..9}.jpg", "train/dog.{0..9}.jpg", "val/cat.1.jpg", "val/dog.1.jpg", "pred/cat.1.jpg")
    images, _ = find(tmp_path, label_pattern=r"^(\w+)\.")
    assert counts(images) == {
        ("train", "cat"): 10,
        ("train", "dog"): 10,
        ("validation", "cat"): 1,
        ("validation", "dog"): 1,
    }
