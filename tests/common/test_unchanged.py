import hashlib
import os
from pathlib import Path

import pytest

from stages.common import unchanged
from stages.common.cli import UserError

SHA256 = hashlib.sha256(b"text a").hexdigest()  # of a.txt


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with three files of the same size."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(f"{name}.txt").write_text(f"text {name}")


def list_files():
    return sorted(path.name for path in Path().iterdir())


def overwrite_as_of_the_same_time(path, text):
    status = os.stat(path)
    Path(path).write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def move_away_and_link():
    os.makedirs("../cache", exist_ok=True)
    os.rename("a.txt", "../cache/a.txt")
    os.symlink("../cache/a.txt", "a.txt")


CHANGES = {
    "other bytes": (lambda: Path("a.txt").write_text("text x"), "a.txt changed"),
    "more bytes": (lambda: Path("b.txt").write_text("text and more"), "b.txt changed"),
    "other bytes of the same time": (lambda: overwrite_as_of_the_same_time("a.txt", "text x"), "a.txt changed"),
    "another file in its place": (lambda: os.replace("b.txt", "a.txt"), "a.txt changed; b.txt vanished"),
    "removed": (lambda: os.remove("c.txt"), "c.txt vanished"),
    "new": (lambda: Path("d\n.txt").touch(), r"'d\n.txt' appeared"),
    "renamed": (lambda: os.rename("a.txt", "e.txt"), "a.txt vanished; e.txt appeared"),
    "a link to nothing": (lambda: (os.remove("a.txt"), os.symlink("nowhere", "a.txt")), "a.txt changed"),
}


HARMLESS = {
    "touched": lambda: os.utime("a.txt"),
    "written again": lambda: Path("a.txt").write_text("text a"),
    "another link to it": lambda: os.link("a.txt", "../b.txt"),
    "now a link": move_away_and_link,
    "rights of a file whose bytes are unknown": lambda: os.chmod("b.txt", 0o600),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_vanishes_or_appears_is_named(folder, what):
    change, named = CHANGES[what]
    with pytest.raises(UserError) as error, unchanged.ensure(list_files) as inputs:
        inputs.sha256["a.txt"] = SHA256
        change()
    assert str(error.value).startswith(f"{named} while this stage ran, so its results do not count. ")


@pytest.mark.parametrize("what", HARMLESS)
def test_times_of_files_whose_bytes_stay_may_change(folder, what):
    with unchanged.ensure(list_files) as inputs:
        inputs.sha256["a.txt"] = SHA256
        HARMLESS[what]()


def test_without_a_hash_the_time_decides(folder):
    with pytest.raises(UserError, match=r"^a.txt changed"), unchanged.ensure(list_files):
        os.utime("a.txt")


def test_of_many_files_the_first_three_are_named(folder):
    with pytest.raises(UserError, match=r"^n0, n1, n2, and 7 more appeared while"), unchanged.ensure(list_files):
        for number in range(10):
            Path(f"n{number}").touch()


@pytest.mark.parametrize("failure", [UserError("a.txt: truncated"), FileNotFoundError("a.txt")])
def test_an_error_that_a_change_has_caused_gives_way(folder, failure):
    with pytest.raises(UserError, match=r"^a.txt vanished"), unchanged.ensure(list_files):
        os.remove("a.txt")
        raise failure
    with pytest.raises(type(failure), match=r"^a.txt"), unchanged.ensure(list_files):
        raise failure
