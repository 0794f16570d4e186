import os
import shutil

import numpy as np
import pytest

from stages.common import arrays
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_is_a_npy_file_of_zeros_until_rows_are_written(tmp_path, dtype):
    file = ArrayFile.create(tmp_path / "a.npy", (5, 2, 3), dtype)
    assert file.shape == (5, 2, 3) and file.dtype == dtype and len(file) == 5
    assert not np.load(tmp_path / "a.npy").any()
    rows = np.arange(18).reshape(3, 2, 3)
    file[1] = rows[0]
    file[3] = rows[1:]  # several, from 3 on
    expected = np.zeros((5, 2, 3), dtype)
    expected[[1, 3, 4]] = rows
    written = np.load(tmp_path / "a.npy")
    assert written.dtype == dtype and np.array_equal(written, expected)


def test_is_read_by_number_slice_and_array(tmp_path):
    values = np.random.default_rng(0).random((7, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    file = ArrayFile(tmp_path / "a.npy")
    assert np.array_equal(file[6], values[6])
    for rows in (slice(None), slice(2, 5), np.array([6, 0, 0]), values[:, 0] > 0.5):
        assert np.array_equal(file[rows], values[rows])
    assert file[np.array([], int)].shape == (0, 4) and file[:0].dtype == np.float32
    assert np.array_equal(list(file), values)  # ends at the last row
    with pytest.raises(IndexError):
        file[7]


@pytest.mark.parametrize(("free", "words"), [(47, "47 bytes are free"), (0, "0 bytes are free")])
def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch, free, words):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 0, free))
    with pytest.raises(UserError, match=f"{tmp_path}/a.npy needs 48 bytes, but {words} on that disk"):
        ArrayFile.create(tmp_path / "a.npy", (2, 3), np.float64)
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_cut_off_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 4)))
    os.truncate(tmp_path / "a.npy", os.path.getsize(tmp_path / "a.npy") - 1)
    file = ArrayFile(tmp_path / "a.npy")
    assert file[1].all()
    with pytest.raises(OSError, match="truncated"):
        file[2]


def test_what_the_disk_does_not_take_is_an_error(tmp_path, monkeypatch):
    file = ArrayFile.create(tmp_path / "a.npy", (3, 4))
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, start: len(data) - 1)
    with pytest.raises(OSError, match="No space left on device"):
        file[0] = np.ones(4)


def test_an_array_is_saved_as_numpy_does_but_a_full_disk_is_told(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((7, 4)).astype(np.float16)
    arrays.save(tmp_path / "ours.npy", values)
    np.save(tmp_path / "theirs.npy", values)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    monkeypatch.setattr(os, "pwrite", lambda *_: 10)
    with pytest.raises(OSError, match=r"No space left on device: '.*ours.npy'"):
        arrays.save(tmp_path / "ours.npy", values)
