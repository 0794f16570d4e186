"""Tables in a folder of images that name its files, while the labels come from folders."""

import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import sources
from tests.labels.support import touch


def notes(folder, **settings):
    return sources.find(params.Data(images=str(folder), **settings)).notes


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("metadata.csv", "file_name,label\nmedia/a/1.jpg,cat\nmedia/b/2.jpg,dog\n", " -S data.columns.path=file_name"),
        ("x/labels.csv", "path,species\n1.jpg,cat\n2.jpg,dog\n", " -S data.columns.label=species"),
        ("m.jsonl", '{"image": "1.jpg", "label": 1}\n{"image": "2.jpg", "label": 2}\n', " -S data.columns.path=image"),
        ("labels.json", '{"classes": ["cat", "dog"], "labels": {"a/1": 0, "b/2": 1}}', ""),
        ("onehot.csv", "image,cat,dog\n1.jpg,1,0\n2.jpg,0,1\n", " -S data.columns.path=image"),
        ("list.txt", "a/1.jpg 0\na/1.jpg 0\nb/2.jpg 1\nb/2.jpg 1\n", " -S 'data.columns.names=[path,label]'"),
        ("media.csv", "id,path\n7,media/a/1.jpg\n8,media/b/2.jpg\n", " and data.columns.label to one of id; labels in"),
    ],
)
def test_a_table_of_the_images_is_named_with_the_settings_that_use_it(tmp_path, name, text, settings):
    folder = touch(tmp_path / "mine", "media/a/1.jpg", "media/b/2.jpg", name)
    (folder / name).write_text(text)
    [note] = [note for note in notes(folder) if "labels are taken" in note]
    assert note.startswith(f"WARNING: {name} names images here")
    assert f"-S data.labels={folder}/{name}{settings}" in note


def test_the_settings_work(tmp_path):
    folder = touch(tmp_path / "mine", "train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg")
    for split, rows in {"train": "1.jpg, 1, 0\n2.jpg, 0, 1\n", "test": "1.jpg, 0, 1\n2.jpg, 1, 0\n"}.items():
        (folder / split / "_classes.csv").write_text(f"filename, cat, dog\n{rows}")
    with pytest.raises(
        UserError, match=rf"without a class folder.*data.labels={folder} -S data.columns.path=filename$"
    ):
        notes(folder)
    found = sources.find(params.Data(images=str(folder), labels=str(folder), columns=params.Columns(path="filename")))
    assert {(x.path, x.class_name, x.split) for x in found.images} == {
        ("train/1.jpg", "cat", "train"),
        ("train/2.jpg", "dog", "train"),
        ("test/1.jpg", "dog", "test"),
        ("test/2.jpg", "cat", "test"),
    }


@pytest.mark.parametrize("place", ["mine", "."])
def test_a_package_of_camera_traps_is_named(tmp_path, place):
    folder = touch(tmp_path / "mine", "dep1/1.jpg", "dep2/2.jpg", "media.csv")
    (folder / "media.csv").write_text("mediaID,filePath\na,dep1/1.jpg\nb,dep2/2.jpg\n")
    (tmp_path / place / "datapackage.json").write_text('{"profile": "https://example.org/camtrap-dp/1.0/profile.json"}')
    [note] = notes(folder)
    assert (
        note.startswith("WARNING")
        and "whose labels are in observations.csv: docs/images.md#how-do-i-join-two-tables" in note
    )


def test_numbers_are_no_names_of_images(tmp_path):
    folder = touch(tmp_path, "a/{0..9}.jpg", "b/{0..9}.jpg")
    (folder / "a/history.csv").write_text("epoch,loss\n1,0.3\n2,0.2\n3,0.1\n")
    assert notes(folder) == ["Left out: 1 text or table beside images, such as a/history.csv."]


@pytest.mark.parametrize("text", ["sizes,of,things\n1,2,3\n4,5,6\n", "no table", "path,label\n8.jpg,a\n9.jpg,b\n", ""])
def test_other_tables_and_texts_are_not_named(tmp_path, text):
    folder = touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (folder / "other.csv").write_text(text)
    assert notes(folder) == []


def test_texts_beside_each_image_are_not_tables(tmp_path):
    folder = touch(tmp_path, "a/{0..9}.jpg", "b/{0..9}.jpg", "a/{0..9}.json")
    for path in folder.glob("a/*.json"):
        path.write_text(f'{{"imagePath": "{path.stem}.jpg", "shapes": []}}')
    assert len(notes(folder)) == 1  # that texts are left out


def test_a_folder_of_labels_without_a_table(tmp_path):
    folder = touch(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(UserError, match="no table in it has the column path: there is no table at all"):
        notes(folder, labels=str(folder))
    (folder / "a.csv").write_text("file,label\n1,cat\n2,dog\n")
    with pytest.raises(UserError, match=r"no table in it has the column path: there are .*a.csv \(file, label\)"):
        notes(folder, labels=str(folder))
