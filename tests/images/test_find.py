import os

import pytest

from stages.common.cli import UserError
from stages.images.find import find_images
from tests.support import make_images


def test_finds_images_below_class_folders_in_one_order(tmp_path):
    for name in ("b/2.png", "a/deep/1.jpg", "a/.hidden", "a/.cache/3.png", ".git/4.png", "loose.png", "a/no ending"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images(tmp_path)
    assert [(x.path, x.class_name) for x in found] == [("a/deep/1.jpg", "a"), ("a/no ending", "a"), ("b/2.png", "b")]


@pytest.mark.parametrize(
    ("counts", "words"), [({}, "has none"), ({"only": 3}, "has only 'only'"), ({"full": 2, "empty": 0}, "only 'full'")]
)
def test_fewer_than_two_classes(tmp_path, counts, words):
    make_images(tmp_path, counts)
    with pytest.raises(UserError, match=words):
        find_images(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_images(tmp_path / "nowhere")


def test_a_folder_without_permission_is_listed_with_its_problem(tmp_path, monkeypatch):
    make_images(tmp_path, {"a": 1, "b": 1, "a/locked": 1})
    listdir = os.listdir

    def deny(path):  # as the system does for everyone but root
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", deny)
    problems = {x.path: x.problem for x in find_images(tmp_path)}
    assert problems == {"a/000.png": "", "a/locked": "Permission denied", "b/000.png": ""}


def test_folders_that_link_to_each_other_are_entered_once(tmp_path):
    for name in range(8):
        make_images(tmp_path / "a", {f"{name:02}": 1})
    for name in range(8):
        for other in range(8):  # followed along every path there are more than 8! of them
            (tmp_path / f"a/{name:02}/to {other:02}").symlink_to(f"../{other:02}")
    make_images(tmp_path, {"b": 1})
    found = find_images(tmp_path)
    assert len([x for x in found if not x.problem]) == 9
    assert {x.problem for x in found} == {"", "a link to a folder that it lies in"}


@pytest.mark.skipif("sys.platform == 'darwin'", reason="its file system takes UTF-8 only")
def test_a_class_whose_name_is_no_text_is_named(tmp_path):
    make_images(tmp_path, {"a": 1, os.fsdecode(b"caf\xe9"): 1})
    with pytest.raises(UserError, match=r"caf\\udce9.*must be UTF-8"):
        find_images(tmp_path)
