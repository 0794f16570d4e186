import os

import pytest

from stages.common.cli import UserError
from stages.labels.files import ANNEX, PLACEHOLDER, find_files, linked_folders
from tests.support import make_images


def test_finds_files_in_one_order(tmp_path):
    for name in ("b/2.png", "a/deep/1.jpg", "a/.hidden", "a/.cache/3.png", ".git/4.png", "loose.png", "a/no ending"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path)
    assert [x.path for x in found] == ["a/deep/1.jpg", "a/no ending", "b/2.png", "loose.png"]


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", ".AppleDouble", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle", "@Recycle"),
        *("Thumbs.db", "Thumbs.db:encryptable", "ehthumbs.db", "desktop.ini", "Icon\r", ".picasa.ini", "._1.jpg"),
        *("1.jpg:Zone.Identifier", "1.jpg.Zone.Identifier", "1.jpg@SynoEAStream", "1.jpg:com.dropbox.attrs", "@tmp"),
        *("~$labels.xlsx", "IMG_0001.AAE", "1.xmp", "RECYCLER", "found.000"),
    ],
)
def test_what_systems_and_file_servers_leave_is_ignored(tmp_path, name):
    make_images(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / name).write_bytes(b"no image")
    (tmp_path / name).mkdir()
    (tmp_path / name / "thumbnail.jpg").write_bytes(b"no image")
    assert [image.path for image in find_files(tmp_path)] == ["a/000.png", "b/000.png"]


def test_names_that_only_resemble_those_are_images(tmp_path):
    names = ["Thumbs.db.png", "lost+found.jpg", "Icon", "recycle", "tmp", "a@b.jpg", "eaDir", "xmp", "found.jpg"]
    names += ["recycled", "Recycler"]  # a class of waste
    for name in [*(f"a/{name}" for name in names), "b/1.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert {image.path for image in find_files(tmp_path)} == {*(f"a/{name}" for name in names), "b/1.png"}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_files(tmp_path / "nowhere")


def test_a_folder_without_permission_is_listed_with_its_problem(tmp_path, monkeypatch):
    make_images(tmp_path, {"a": 1, "b": 1, "a/locked": 1})
    listdir = os.listdir

    def deny(path):  # as the system does for everyone but root
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", deny)
    problems = {x.path: x.problem for x in find_files(tmp_path)}
    assert problems == {"a/000.png": "", "a/locked": "Permission denied", "b/000.png": ""}


def test_folders_that_link_to_each_other_are_entered_once(tmp_path):
    for name in range(8):
        make_images(tmp_path / "a", {f"{name:02}": 1})
    for name in range(8):
        for other in range(8):  # followed along every path there are more than 8! of them
            (tmp_path / f"a/{name:02}/to {other:02}").symlink_to(f"../{other:02}")
    make_images(tmp_path, {"b": 1})
    found = find_files(tmp_path)
    assert len([x for x in found if not x.problem]) == 9
    assert {x.problem for x in found} == {"", "a link to a folder that it lies in"}


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ({"mine/cat": "disk/cat"}, ["cat"]),
        ({"mine/dog/more": "disk/cat"}, ["dog/more"]),
        ({"chain": "disk/cat", "mine/cat": "chain"}, ["cat"]),
        ({"mine/train": "disk", "mine/test": "disk"}, ["test", "train"]),
        ({"mine/dog/one.png": "disk/cat/000.png"}, []),  # of files, DVC hashes what links lead to
        ({"mine/dog/nothing": "disk/cat/gone"}, []),
    ],
)
def test_links_to_folders_on_the_way_to_images_are_named(tmp_path, links, named):
    make_images(tmp_path / "disk", {"cat": 1})
    make_images(tmp_path / "mine", {"dog": 1})
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    assert linked_folders(tmp_path / "mine", find_files(tmp_path / "mine")) == named


def test_a_link_to_the_data_folder_itself_is_followed_by_dvc_and_not_named(tmp_path):
    make_images(tmp_path / "disk", {"cat": 1, "dog": 1})
    (tmp_path / "mine").symlink_to("disk")
    found = find_files(tmp_path / "mine")
    assert [x.path for x in found] == ["cat/000.png", "dog/000.png"] and linked_folders(tmp_path / "mine", found) == []


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "scan.jpg", "no ending"])
def test_icloud_s_placeholder_stands_for_the_image_that_is_not_here(tmp_path, name):
    make_images(tmp_path, {"a": 1})
    (tmp_path / f"a/.{name}.icloud").write_bytes(b"bplist00")
    (tmp_path / "a/.000.png.icloud").write_bytes(b"bplist00")  # which has been downloaded
    assert {x.path: x.problem for x in find_files(tmp_path)} == {"a/000.png": "", f"a/{name}": PLACEHOLDER}


@pytest.mark.parametrize("above", ["../.git", "../../.git", "/elsewhere/.git"])
def test_links_to_what_git_annex_has_not_fetched(tmp_path, above):
    make_images(tmp_path, {"a": 1})
    (tmp_path / "a/1.png").symlink_to(f"{above}/annex/objects/Gx/5k/SHA256E-s9--0.png/SHA256E-s9--0.png")
    assert {x.path: x.problem for x in find_files(tmp_path)} == {"a/000.png": "", "a/1.png": ANNEX}
