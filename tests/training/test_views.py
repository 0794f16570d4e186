import errno
import os
import shutil
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from stages.common.cli import UserError
from stages.model import network
from stages.training import augmentation, state_file, views
from stages.training.checkpoint import Checkpoint
from stages.training.views import Augmented, Stored
from tests.support import amplify, make_split
from tests.training import support
from tests.training.support import flip, make_params

SPLIT = make_split(7, ["a", "b"])
AUGMENTATION = make_params(flip="horizontal", rotation=0.1, crop=0.5, brightness=0.3).augmentation
BLOCK, FEATURES = 18, 30  # where to split the network: the frozen part gives [8, 8, 16], or all features


@pytest.fixture(autouse=True)
def in_workplace(workplace, shallow, monkeypatch):
    """Every test has a working folder and a small network, of which three images at a time are computed."""
    monkeypatch.setattr(views, "BATCH", 3)


@pytest.fixture
def model(in_workplace):
    keras.utils.set_random_seed(0)
    model = network.build(32, 2)
    amplify(model)
    return model


def store(model, count=3, seed=1, layer_index=BLOCK):
    """The views of a training with this model."""
    frozen, _ = network.split_at(model, layer_index)
    path = Checkpoint({"seed": seed}, model.variables, [SPLIT]).beside("train")
    return Stored(Augmented(SPLIT, AUGMENTATION, seed, count), frozen, path, "float16")


def stored_files():
    """The content of what lies in .checkpoints, by the number of the view."""
    found = {path.suffix: path.read_bytes() for path in Path(".checkpoints").iterdir()}
    shutil.rmtree(".checkpoints")
    return found


@pytest.mark.parametrize(("layer_index", "shape"), [(BLOCK, (8, 8, 16)), (FEATURES, (1280,))])
def test_views_are_outputs_of_the_frozen_part_in_float16_one_file_each(model, layer_index, shape):
    stored = store(model, layer_index=layer_index)
    assert sorted(path.suffix for path in Path(".checkpoints").iterdir()) == [".train0", ".train1", ".train2"]
    for path in Path(".checkpoints").iterdir():
        assert path.stat().st_size == 128 + 7 * 2 * np.prod(shape) + 4  # header of a .npy file, rows, checksum
        assert np.load(path).shape == (7, *shape)
    assert stored.spec.shape[1:] == shape and stored.spec.dtype == np.float16
    frozen, _ = network.split_at(model, layer_index)
    rng = np.random.default_rng([1, 2])  # of view 2
    transforms = augmentation.random_transforms(rng, 7, 32, AUGMENTATION)
    for view, images in ((0, SPLIT.pixels), (2, augmentation.apply_transforms(SPLIT.pixels, transforms))):
        expected, rows = frozen(np.float32(images)).numpy(), np.arange(7)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(stored.read(rows, np.full(7, view)), expected, rtol=1e-3, atol=1e-3)


def test_each_image_is_read_in_the_view_that_is_asked_for(model):
    stored = store(model)
    together = np.stack([stored.read(np.arange(7), np.full(7, view)) for view in range(3)])
    assert np.array_equal(stored.read(np.array([5, 0, 3]), np.array([2, 0, 1])), together[[2, 0, 1], [5, 0, 3]])
    assert len({view.tobytes() for view in together}) == 3


def test_no_images_are_none(model):  # what one of two workers reads where a step has one image
    for seen in (Augmented(SPLIT), store(model)):
        none = np.zeros(0, int)
        assert seen.read(none, none).shape == (0, *seen.spec.shape[1:])


def test_a_view_depends_on_the_seed_and_its_number_alone(model):
    store(model, count=2)
    two = stored_files()
    store(model, count=4)
    four = stored_files()
    assert len(four) == 4 and all(four[name] == content for name, content in two.items())
    store(model, count=2, seed=2)
    other = stored_files()
    assert other[".train0"] == two[".train0"] and other[".train1"] != two[".train1"]


def stop_in_the_middle(monkeypatch, writes):
    """Interrupts the process after so many batches have been written."""
    write = state_file.Writer.write
    left = iter(range(writes))

    def stopping(self, data):
        if isinstance(data, np.ndarray) and next(left, None) is None:  # the header is bytes
            raise KeyboardInterrupt
        write(self, data)

    monkeypatch.setattr(state_file.Writer, "write", stopping)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("writes", [2, 3, 5])  # three batches a view
def test_a_run_that_was_stopped_goes_on_with_the_views_that_are_complete(model, monkeypatch, writes, killed):
    store(model)
    undisturbed = stored_files()
    with monkeypatch.context() as patch:
        stop_in_the_middle(patch, writes)
        if killed:  # the file of the view that is computed is left
            patch.setattr(Path, "unlink", lambda *arguments, **more: None)
        with pytest.raises(KeyboardInterrupt):
            store(model)
    left = {path.suffix for path in Path(".checkpoints").iterdir()}
    assert left == {f".train{view}" for view in range(writes // 3)} | ({".tmp"} if killed else set())
    computed, batches = [], views.batches
    monkeypatch.setattr(views, "batches", lambda *given: computed.append(given) or batches(*given))
    store(model)
    assert len(computed) == 3 - writes // 3
    assert stored_files() == undisturbed


def test_what_cannot_be_written_is_no_view(model, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_file.Writer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        store(model)
    assert list(Path(".checkpoints").iterdir()) == []


DAMAGE = support.DAMAGE | {
    "shorter than a checksum": lambda data: data[:3],
    "rows of zeros": lambda data: data[:128] + bytes(len(data) - 128),
    "a range of zeros": lambda data: data[:4096] + bytes(512) + data[4608:],
    "a bit of the magic": lambda data: flip(data, 3),
    "a bit of the type": lambda data: flip(data, 8 * data.index(b"f2") + 1),
    "a bit of the shape": lambda data: flip(data, 8 * data.index(b"(7") + 8),
    "a bit of a row": lambda data: flip(data, 4 * len(data)),
    "a bit of the checksum": lambda data: flip(data, -1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_view_is_computed_anew_with_a_line(model, capsys, damage):
    store(model)
    [path] = Path(".checkpoints").glob("*.train1")
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    capsys.readouterr()
    stored = store(model)
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"WARNING: .checkpoints/{path.name} is damaged: computed anew"
    assert second.startswith("view 2 of 3: ")
    assert path.read_bytes() == whole
    assert np.array_equal(stored.read(np.arange(7), np.ones(7, int)), np.load(path))
    store(model)
    assert capsys.readouterr().out == ""  # none is computed


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_view_with_a_bad_sector_is_computed_anew_and_other_errors_stay_errors(model, monkeypatch, capsys, number):
    store(model, count=1)
    [path] = Path(".checkpoints").iterdir()
    whole, crc32, fails = path.read_bytes(), zlib.crc32, [True]

    def read(*given):
        if fails and fails.pop():
            raise OSError(number, os.strerror(number))
        return crc32(*given)

    monkeypatch.setattr(state_file.zlib, "crc32", read)
    if number == errno.EIO:
        store(model, count=1)
        assert capsys.readouterr().out == f"WARNING: .checkpoints/{path.name} is damaged: computed anew\n"
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            store(model, count=1)
    assert path.read_bytes() == whole


def test_views_are_on_the_disk_before_they_have_their_name_and_their_name_is_too(model, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def recorded(*arguments, name=name, call=call):
            done.append((name, os.path.isdir(arguments[0]) if name == "fsync" else ""))
            return call(*arguments)

        monkeypatch.setattr(os, name, recorded)
    store(model, count=2)
    assert done == 2 * [("fsync", False), ("replace", ""), ("fsync", True)]


def test_a_view_that_another_process_removes_is_still_read(model):
    store(model, count=2)
    stored = store(model, count=2)
    expected = stored.read(np.arange(7), np.ones(7, int))
    shutil.rmtree(".checkpoints")
    assert np.array_equal(stored.read(np.arange(7), np.ones(7, int)), expected)


def test_they_are_removed_with_the_state_of_the_training(model):
    store(model, seed=2)
    store(model)
    Checkpoint({"seed": 1}, model.variables, [SPLIT]).remove()
    assert sorted(path.suffix for path in Path(".checkpoints").iterdir()) == [".train0", ".train1", ".train2"]
    Checkpoint({"seed": 2}, model.variables, [SPLIT]).remove()
    assert list(Path(".checkpoints").iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_computed(model, monkeypatch):
    view = 7 * 8 * 8 * 16 * 2

    def leave(free):
        monkeypatch.setattr(views.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 0, free))

    leave(3 * view - 1)
    with pytest.raises(
        UserError, match=r"3 views .* need 43\.0 kB in .*\.checkpoints.* where 43\.0 kB .* lower train\.views\."
    ):
        store(model)
    assert list(Path(".checkpoints").iterdir()) == []
    leave(2 * view)
    store(model, count=2)
    leave(view)
    store(model)  # of which two are there


def test_images_are_augmented_as_they_are_read():
    seen = Augmented(SPLIT, AUGMENTATION, seed=1, count=3)
    read = seen.read(np.array([5, 0, 3]), np.array([2, 0, 1])).numpy()
    assert seen.spec.shape[1:] == (32, 32, 3) and seen.spec.dtype == read.dtype == np.float32
    assert np.array_equal(read[1], SPLIT.pixels[0])
    transforms = augmentation.random_transforms(np.random.default_rng([1, 2]), 7, 32, AUGMENTATION)
    expected = augmentation.apply_transforms(SPLIT.pixels[[5]], transforms[[5]])
    assert np.array_equal(read[:1], expected) and not np.array_equal(read[0], SPLIT.pixels[5])


def test_each_view_is_a_line_and_a_single_one_is_none(model, capsys):
    store(model, count=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["view 1 of 2", "view 2 of 2"]
    frozen, _ = network.split_at(model, BLOCK)
    exact = Stored(Augmented(SPLIT), frozen, Checkpoint({}, model.variables, [SPLIT]).beside("validation"), "float32")
    assert capsys.readouterr().out == "" and exact.spec.dtype == np.float32
    np.testing.assert_allclose(
        exact.read(np.arange(7), np.zeros(7, int)), frozen(np.float32(SPLIT.pixels)), rtol=1e-5, atol=1e-5
    )


def test_frozen_layers_take_stored_views_of_others(model):
    blocks = store(model, count=2)
    _, above = network.split_at(model, BLOCK)
    features = Stored(blocks, above, Path(".checkpoints/features"), "float16")
    _, everything = network.split_at(model, 0)
    rows, clean = np.arange(7), np.zeros(7, int)
    expected = everything(np.float32(SPLIT.pixels))
    np.testing.assert_allclose(features.read(rows, clean), expected, rtol=0.01, atol=0.01 * np.max(expected))
    assert features.count == 2 and not np.array_equal(features.read(rows, clean), features.read(rows, clean + 1))


def test_files_that_are_still_being_written_are_left(tmp_path):
    names = ["views-a-0", "views-a-1.5.tmp", "views-a-1.6.tmp", "views-b-0"]
    for name in names:
        (tmp_path / name).touch()
    os.utime(tmp_path / names[2], (0, 0))  # of a run that was killed long ago
    views.remove(tmp_path / "views-a-")
    assert sorted(path.name for path in tmp_path.glob("views-*")) == [names[1], names[3]]
