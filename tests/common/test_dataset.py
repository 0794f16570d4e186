import pandas as pd
import pytest

from stages.common import dataset, files
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError


@pytest.mark.parametrize("text", ["007", "1e5", "True", "NA", "1.0", ""])
def test_metadata_is_text_and_the_other_columns_are_what_they_were(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    manifest = pd.DataFrame({"path": "1", "class": "2", "label": 0, "sha256": "3", "width": [4], "height": 5})
    manifest = manifest.assign(group=6, duplicates=7, code=text)
    (tmp_path / "data/splits").mkdir(parents=True)
    files.write_json(["2"], tmp_path / dataset.CLASSES)
    pixels = ArrayFile.create(tmp_path / "pixels.npy", (1, 32, 32, 3))
    dataset.create(tmp_path / "data/splits/test", pixels, [0], manifest)
    pd.testing.assert_frame_equal(dataset.load("test").manifest, manifest)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("test/manifest.csv", b'"sha256"', b'"sha"'),
        ("test/manifest.csv", b",5,", b",five,"),
        ("test/manifest.csv", b'"1",', b'"1",0,0,0\n"1",'),
        ("test/pixels.npy", b"NUMPY", b"numpy"),
        ("test/pixels.npy", b"'shape': (1", b"'shape': (2"),
        ("classes.json", b"]", b""),
    ],
)
def test_a_damaged_split_is_named(tmp_path, name, old, new):
    manifest = pd.DataFrame({"path": "1", "class": "2", "label": 0, "sha256": "3", "width": [4], "height": 5})
    files.write_json(["2"], tmp_path / "classes.json")
    pixels = ArrayFile.create(tmp_path / "pixels.npy", (1, 32, 32, 3))
    dataset.create(tmp_path / "test", pixels, [0], manifest.assign(group=6, duplicates=7))
    dataset.load("test", tmp_path)
    content = (tmp_path / name).read_bytes()
    assert old in content
    (tmp_path / name).write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match=f"^{tmp_path}/.* is damaged or of an earlier version: run `dvc repro`.$"):
        dataset.load("test", tmp_path)


def test_reading_ahead_keeps_the_order_and_reads_few_steps_before_they_are_needed():
    read = []
    ahead = dataset.read_ahead(lambda step: read.append(step) or step**2, range(100))
    assert [next(ahead) for _ in range(3)] == [0, 1, 4]
    assert len(read) <= 6
    assert list(ahead) == [step**2 for step in range(3, 100)] and read == list(range(100))


def test_an_error_of_reading_ahead_comes_where_the_step_is_needed():
    ahead = dataset.read_ahead(lambda step: 1 // (2 - step), range(9))
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(ahead)
