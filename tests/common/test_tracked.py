import os
import re
import subprocess

import pytest

from stages.common import tracked
from stages.common.cli import UserError

COMMIT = "git add data/mine.dvc data/.gitignore && git commit"


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *arguments], check=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit and a folder of images, which is not in it; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    (tmp_path / "data/mine").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def added(repository):
    """The same, after `dvc add data/mine`."""
    (repository / "data/mine.dvc").touch()
    (repository / "data/.gitignore").write_text("/mine\n")
    return repository


@pytest.fixture
def copy(repository, monkeypatch):
    """A temporary copy of DVC, without the images; it is the working folder."""
    folder = repository / ".dvc/tmp/exps/standalone/tmp1"
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("in_copies", [False, True])
def test_a_folder_that_was_added_must_be_committed(added, in_copies):
    with pytest.raises(UserError, match=rf"Run `{COMMIT}"):
        tracked.check("data/mine/", in_copies)
    git("add", "data/mine.dvc")
    with pytest.raises(UserError, match=COMMIT):  # `dvc exp run` takes it out of the index again
        tracked.check("data/mine", in_copies)
    git("commit", "-q", "-m", "mine")
    tracked.check("data/mine", in_copies)


def test_a_folder_that_nothing_tracks_is_missing_in_copies_only(repository):
    tracked.check("data/mine")
    with pytest.raises(UserError, match=rf"Run `dvc add data/mine && {COMMIT}"):
        tracked.check("data/mine", in_copies=True)


def test_a_copy_names_what_its_workspace_lacks(added, copy):
    with pytest.raises(UserError, match=rf"Run `{COMMIT}"):
        tracked.check("data/mine")
    (copy / "data/mine.dvc").touch()  # as `git add` without a commit gives it
    tracked.check("data/mine")


def test_a_copy_of_a_workspace_that_tracks_nothing_names_dvc_add(copy):
    with pytest.raises(UserError, match="dvc add data/mine"):
        tracked.check("data/mine")


def test_outputs_of_stages_and_folders_elsewhere_pass(repository, tmp_path_factory):
    (repository / "data/.gitignore").write_text("/digits\n")
    (repository / "data/digits").mkdir()
    for folder in ("data/digits", "data/missing", str(tmp_path_factory.mktemp("elsewhere"))):
        tracked.check(folder, in_copies=True)
    tracked.check("../elsewhere")  # in the workspace


@pytest.mark.parametrize("path", ["../elsewhere", "data/../../my pics", ".."])
def test_a_relative_path_out_of_the_repository_is_refused_for_copies(repository, path, monkeypatch):
    absolute = re.escape(os.path.normpath(repository / path))
    with pytest.raises(UserError, match=f"out of the repository.* Write {absolute}.$"):
        tracked.check(path, in_copies=True)
    copy = repository / ".dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match=f"out of the repository.* Write {absolute}.$"):
        tracked.check(path)


def test_a_home_folder_is_written_out(repository):
    with pytest.raises(UserError, match=f"~/pics: ~ is not expanded. Write {os.path.expanduser('~/pics')}"):
        tracked.check("~/pics")


def test_the_commands_that_are_to_be_run_quote_the_path(repository):
    (repository / "data/my (1)").mkdir()
    with pytest.raises(
        UserError, match=re.escape("dvc add 'data/my (1)' && git add 'data/my (1).dvc' data/.gitignore")
    ):
        tracked.check("data/my (1)", in_copies=True)


def test_images_that_are_in_git_themselves_pass(repository):
    (repository / "data/mine/image.png").touch()
    git("add", "data/mine")
    git("commit", "-q", "-m", "mine")
    tracked.check("data/mine", in_copies=True)


@pytest.mark.parametrize("path", ["labels.csv", "data/my labels.tsv", "own.weights.h5"])
def test_a_file_that_nothing_tracks_is_missing_in_copies_too(repository, path):
    (repository / path).touch()
    tracked.check(path)
    with pytest.raises(UserError, match=re.escape(f"git does not have {path}.dvc, ")):
        tracked.check(path, in_copies=True)
    git("add", path)
    git("commit", "-q", "-m", "a table is small enough for git")
    tracked.check(path, in_copies=True)


@pytest.mark.parametrize("path", ["data/mine/deeper", "data/mine/deeper/labels.csv", "data/mine/"])
def test_what_lies_in_a_folder_that_was_added_must_be_committed_with_it(added, path):
    (added / "data/mine/deeper").mkdir()
    with pytest.raises(UserError, match=rf"lack .*\. Run `{COMMIT}"):
        tracked.check(path)
    git("add", "data/mine.dvc")
    git("commit", "-q", "-m", "mine")
    tracked.check(path, in_copies=True)


@pytest.mark.parametrize("path", ["data/link", "data/link/cats", "data/link/labels.csv"])
def test_what_is_behind_a_link_is_named_by_its_own_path(repository, tmp_path_factory, path):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "cats").mkdir()
    (elsewhere / "labels.csv").touch()
    (repository / "data/link").symlink_to(elsewhere)
    tracked.check(path)
    with pytest.raises(UserError, match=rf"Write {elsewhere}{path.removeprefix('data/link')}\.$"):
        tracked.check(path, in_copies=True)
    tracked.check(str(elsewhere), in_copies=True)


def test_without_git_nothing_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.dvc").touch()
    tracked.check("mine", in_copies=True)
