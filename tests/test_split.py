import json
import shutil

import numpy as np
import pandas as pd
import pytest

from stages import split
from stages.common import dataset, images
from stages.common.command import UserError
from tests.conftest import make_pictures


def manifest(counts):
    """A manifest of files that are all different."""
    rows = [(f"{name}/{i}", name, f"{name}{i}") for name, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["path", "class", "sha256"])


def test_every_class_is_divided_by_the_fractions():
    table = manifest({"a": 100, "b": 43, "c": 3})
    counts = pd.crosstab(table["class"], split.assign(table, 0.2, 0.1, seed=1))
    assert counts.loc["a"].to_dict() == {"test": 10, "train": 70, "validation": 20}
    assert counts.loc["b"].to_dict() == {"test": 4, "train": 30, "validation": 9}
    assert counts.loc["c"].to_dict() == {"test": 1, "train": 1, "validation": 1}


def test_the_seed_decides_and_the_order_of_files_does_not():
    table = manifest({"a": 50, "b": 50})
    first = split.assign(table, 0.2, 0.2, seed=1)
    backwards = split.assign(table[::-1].reset_index(drop=True), 0.2, 0.2, seed=1)
    assert (first == backwards[::-1]).all()
    assert (first != split.assign(table, 0.2, 0.2, seed=2)).any()


def test_more_files_move_others_only_at_the_borders():
    table = manifest({"a": 200, "b": 200})
    before = split.assign(table, 0.2, 0.2, seed=1)
    more = pd.concat([table, manifest({"a": 210})[200:]], ignore_index=True)
    assert (split.assign(more, 0.2, 0.2, seed=1)[:400] != before).sum() <= 8


@pytest.mark.parametrize("seed", range(20))
def test_identical_files_stay_together(seed):
    table = manifest({"a": 60, "b": 60})
    table["sha256"] = [f"same{row % 40}" for row in range(len(table))]  # threes, across both classes too
    table["split"] = split.assign(table, 0.2, 0.2, seed)
    assert (table.groupby("sha256")["split"].nunique() == 1).all()


def test_a_class_that_is_too_small_says_how_many_it_needs():
    with pytest.raises(UserError, match="class 'b' has 2 pictures, 2 of them different.* at least 3 "):
        split.assign(manifest({"a": 9, "b": 2}), 0.2, 0.2, seed=1)
    with pytest.raises(UserError, match="class 'b' has 3 pictures.* at least 4 "):
        split.assign(manifest({"a": 9, "b": 3}), 0.6, 0.2, seed=1)
    split.assign(manifest({"a": 9, "b": 4}), 0.6, 0.2, seed=1)


def test_writes_pixels_manifests_classes_and_counts(workplace):
    folder = make_pictures(workplace.folder / "mine", {"cat": 10, "not cat": 15})
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    paths = []
    for name, counts in {"train": (6, 9), "validation": (2, 3), "test": (2, 3)}.items():
        part = dataset.load(name)
        assert part.classes == ["cat", "not cat"]
        assert part.pixels.shape == (sum(counts), 32, 32, 3) and part.pixels.dtype == np.uint8
        assert isinstance(part.pixels, np.memmap)
        assert np.bincount(part.labels).tolist() == list(counts)
        assert list(part.manifest.columns) == ["path", "class", "label", "sha256"]
        for pixels, row in zip(part.pixels, part.manifest.itertuples()):
            sha256, decoded = images.decode(folder / row.path, 32)
            assert row.sha256 == sha256 and (pixels == decoded).all()
        paths += list(part.manifest["path"])
    assert sorted(paths) == sorted(x.relative_to(folder).as_posix() for x in folder.glob("*/*"))
    assert json.loads((workplace.folder / "metrics/split.json").read_text())["test"] == {"cat": 2, "not cat": 3}


def test_skipped_pictures_are_listed_and_counted_and_the_others_keep_their_pixels(workplace):
    folder = make_pictures(workplace.folder / "mine", {"a": 6, "b": 6})
    for name in ("a/0.png", "a/003.png", "b/005.png"):
        (folder / name).write_text("no picture")
    workplace.set({"data.images": "mine", "image_size": 32, "data.unreadable": "skip"})
    split.main()
    parts = [dataset.load(name) for name in split.SPLITS]
    for part in parts:
        for pixels, path in zip(part.pixels, part.manifest["path"]):
            assert (pixels == images.decode(folder / path, 32)[1]).all()
    assert sum(len(part.labels) for part in parts) == 10
    assert list(pd.read_csv("data/splits/unreadable.csv")["path"]) == ["a/0.png", "a/003.png", "b/005.png"]
    metrics = json.loads((workplace.folder / "metrics/split.json").read_text())
    assert metrics["unreadable"] == 3
    assert {name: sum(row[name] for row in list(metrics.values())[:3]) for name in "ab"} == {"a": 5, "b": 5}


def test_a_class_that_skipping_empties_or_makes_too_small(workplace):
    folder = make_pictures(workplace.folder / "mine", {"a": 5, "b": 3})
    workplace.set({"data.images": "mine", "data.unreadable": "skip"})
    (folder / "b/000.png").write_text("no picture")
    with pytest.raises(UserError, match="class 'b' has 2 pictures"):
        split.main()
    for path in folder.glob("b/*"):
        path.write_text("no picture")
    with pytest.raises(UserError, match="mine: no picture of class 'b' can be read"):
        split.main()
    assert not (workplace.folder / "data/splits/unreadable.csv").exists()


def test_paths_of_any_bytes_come_back_from_the_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = ["a/new\nline", "a/return\r", "a/q\"u'ote", "a/,", "a/\U0001f999", "NA", " a ", "a/caf\udce9", "a/\x01\\"]
    table = pd.DataFrame({"path": paths, "class": "a", "label": 0, "sha256": "0"})
    (tmp_path / "data/splits").mkdir(parents=True)
    (tmp_path / dataset.CLASSES).write_text('["a"]')
    dataset.create(tmp_path / "data/splits/test", np.zeros((len(paths), 2, 2, 3), np.uint8), range(len(paths)), table)
    assert list(dataset.load("test").manifest["path"]) == paths
    assert b"caf\xe9" in (tmp_path / "data/splits/test/manifest.csv").read_bytes()
    dataset.write_csv(table, "shown.csv", errors="backslashreplace")
    assert list(pd.read_csv("shown.csv", keep_default_na=False)["path"]) == [
        path.replace("\udce9", "\\udce9") for path in paths
    ]


def test_decodes_every_picture_once(workplace, monkeypatch):
    make_pictures(workplace.folder / "mine", {"a": 5, "b": 5})
    workplace.set({"data.images": "mine"})
    decoded, decode = [], images.decode
    monkeypatch.setattr(images, "decode", lambda path, size: decoded.append(path) or decode(path, size))
    split.main()
    assert len(decoded) == len(set(decoded)) == 10


def test_a_copy_of_the_folder_under_another_name_gives_the_same_bytes(workplace):
    make_pictures(workplace.folder / "mine", {"a": 8, "b": 8})
    outputs = []
    for name in ("mine", "copy"):
        if name == "copy":
            for path in sorted((workplace.folder / "mine").glob("*/*"), reverse=True):
                target = workplace.folder / "copy" / path.relative_to(workplace.folder / "mine")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        workplace.set({"data.images": name})
        split.main()
        files = [x for x in (workplace.folder / "data/splits").rglob("*") if x.is_file()]
        outputs.append({x.relative_to(workplace.folder): x.read_bytes() for x in files})
    assert outputs[0] == outputs[1]


def test_all_unreadable_pictures_are_named_and_nothing_is_written(workplace):
    folder = make_pictures(workplace.folder / "mine", {"a": 5, "b": 5})
    (folder / "a/broken.png").write_text("no picture")
    (folder / "b/empty.png").touch()
    workplace.set({"data.images": "mine"})
    with pytest.raises(UserError, match=r"2 of 12 .*a/broken.png \(not a picture.*\), .*b/empty.png \(an empty file\)"):
        split.main()
    assert [x for x in workplace.folder.glob("data/**/*") if x.is_file()] == []
    assert not (workplace.folder / "metrics/split.json").exists()


def test_an_unreadable_name_cannot_write_to_the_terminal(workplace):
    folder = make_pictures(workplace.folder / "mine", {"a": 5, "b": 5})
    (folder / "a/red\x1b[31m\n.png").touch()
    workplace.set({"data.images": "mine"})
    with pytest.raises(UserError, match=r"'mine/a/red\\x1b\[31m\\n.png' \(an empty file\)"):
        split.main()
