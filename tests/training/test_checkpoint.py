import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from stages.training import checkpoint, state_file
from stages.training.checkpoint import Checkpoint
from tests.support import ROOT, make_split
from tests.training import support

ROWS = [{"epoch": 1, "phase": "train_frozen", "loss": 0.1 + 0.2, "kept": False}]
ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3)]


@pytest.fixture(autouse=True)
def in_workplace(workplace):
    """Every test has a working folder, with its checkpoints, of its own."""


def state(settings=None, variable=1.0, split=None):
    return Checkpoint(settings or {"seed": 1}, [tf.Variable(variable)], [split or make_split(4, ["a", "b"])])


def restored(checkpoint):
    """Returns (rows, arrays, best) of a checkpoint, or None where it has none."""
    variables = [tf.Variable(tf.zeros_like(array)) for array in ARRAYS]
    rows, best = checkpoint.restore(variables)
    return (rows, [variable.numpy() for variable in variables], best) if rows else None


def test_the_same_training_finds_its_state_and_no_other_does(monkeypatch):
    state().save(ROWS, ARRAYS, ARRAYS[:1])
    rows, variables, best = restored(state())
    assert rows == ROWS
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(variables, ARRAYS, strict=True))
    assert len(best) == 1 and np.array_equal(best[0], ARRAYS[0])
    split = make_split(4, ["a", "b"])
    pixels = split.pixels.copy()
    pixels[3, 31, 31, 2] ^= 1
    labels = split.manifest.assign(label=[0, 1, 1, 1])
    for other in (
        state({"seed": 2}),
        state(variable=1.1),
        state(split=replace(split, pixels=pixels)),
        state(split=replace(split, manifest=labels)),
    ):
        assert restored(other) is None
    monkeypatch.setattr(checkpoint.metadata, "version", lambda package: "0")
    assert restored(state()) is None


@pytest.mark.parametrize(
    ("room", "matters"), [("common", True), ("model", True), ("training", True), ("charts", False)]
)
def test_a_change_of_the_code_that_trains_is_another_training(tmp_path, monkeypatch, room, matters):
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "stages/training/checkpoint.py"))
    before = state().path
    assert state().path == before
    for module in (tmp_path / "stages" / room).glob("*.py"):
        text = module.read_text()
        module.write_text(text + "# a comment, say\n")
        assert (state().path != before) == matters, module
        module.write_text(text)
    assert state().path == before


DAMAGE = support.DAMAGE | {
    "ten bytes": lambda data: data[:10],
    "without its checksum": lambda data: data[:-4],
    "a range of zeros": lambda data: data[:200] + bytes(64) + data[264:],
    "its halves swapped": lambda data: data[len(data) // 2 :] + data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_none_and_a_line_says_so(damage, capsys):
    file = state()
    file.save(ROWS, ARRAYS, [])
    whole = file.path.read_bytes()
    file.path.write_bytes(DAMAGE[damage](whole))
    assert restored(file) is None
    assert capsys.readouterr().out == f"WARNING: .checkpoints/{file.path.name} is damaged: computed anew\n"
    file.save(ROWS, ARRAYS, [])
    assert file.path.read_bytes() == whole and restored(file)[0] == ROWS


def test_no_flipped_bit_is_read(capsys):
    file = state()
    file.save(ROWS, ARRAYS, [])
    whole = file.path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        file.path.write_bytes(support.flip(whole, bit))
        assert file.restore([]) == ([], []), bit
        assert capsys.readouterr().out.count("damaged") == 1
    file.path.write_bytes(whole)
    assert restored(file)[0] == ROWS


def test_a_state_that_is_gone_or_of_a_killed_process_is_none(capsys):
    file = state()
    file.save(ROWS, ARRAYS, [])
    file.path.with_name(f"{file.path.name}.0.123.tmp").touch()  # of a kill in the middle of writing
    file.remove()
    assert restored(file) is None and list(file.path.parent.iterdir()) == []
    assert capsys.readouterr().out == ""
    file.remove()


def test_what_cannot_be_written_leaves_the_last_state(monkeypatch):
    file = state()
    file.save(ROWS, ARRAYS, [])
    write = state_file.Writer.write

    def full(self, data):
        write(self, bytes(data)[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_file.Writer, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.save(ROWS * 2, ARRAYS, [])
    assert restored(file)[0] == ROWS
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_state_is_on_the_disk_before_it_replaces_the_last_one(monkeypatch):
    file, replace, synced = state(), os.replace, []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino) or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *paths: synced.append("replaced") or replace(*paths))
    for epochs in (1, 2, 3):
        file.save(ROWS * epochs, ARRAYS, [])
        assert synced == [file.path.stat().st_ino, "replaced", file.path.parent.stat().st_ino]
        synced.clear()


def test_a_process_whose_training_another_has_ended_goes_on(monkeypatch):
    file, fsync = state(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: file.remove() or fsync(descriptor))
    file.save(ROWS, ARRAYS, [])
    assert list(file.path.parent.iterdir()) == []


def test_queued_experiments_keep_theirs_in_the_repository_that_queued_them(workplace, monkeypatch):
    state().save(ROWS, ARRAYS, [])
    folder = workplace.folder / ".dvc/tmp/exps/standalone123"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert restored(state())[0] == ROWS
    assert list(folder.iterdir()) == []


def test_old_states_go():
    old = state({"seed": 7})
    old.save(ROWS, ARRAYS, [])
    week = time.time() - 8 * 86400
    os.utime(old.path, (week, week))
    other = old.path.with_name("someone's folder")
    other.mkdir()
    os.utime(other, (week, week))
    new = state()
    new.save(ROWS, ARRAYS, [])
    state()
    assert {*new.path.parent.iterdir()} == {new.path, other}


def test_what_lies_beside_a_state_is_of_the_same_training_and_goes_with_it():
    one, other = state({"seed": 1}), state({"seed": 2})
    for file in (one, other):
        file.save(ROWS, ARRAYS, [])
        file.beside("train0").write_text("view")
    assert state({"seed": 1}).beside("train0").read_text() == "view"
    one.remove()
    assert sorted(other.path.parent.iterdir()) == sorted([other.path, other.beside("train0")])


def test_what_lies_beside_an_old_state_goes_too():
    old = state({"seed": 7}).beside("train0")
    old.write_text("view")
    week = time.time() - 8 * 86400
    os.utime(old, (week, week))
    state()
    assert not old.exists()
