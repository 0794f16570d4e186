import json
import os

import numpy as np
import pandas as pd
import pytest

from stages.common import files
from stages.common.cli import UserError


def test_outputs_appear_together_at_the_end_and_replace_old_ones(tmp_path):
    folder, file = tmp_path / "out/folder", tmp_path / "out/file"
    folder.mkdir(parents=True)
    (folder / "old").touch()
    with files.replacing(folder=folder, file=file) as out:
        out.folder.mkdir()
        out.file.write_text("new")
        assert (folder / "old").exists() and not file.exists()
    assert [path.name for path in folder.iterdir()] == []
    assert file.read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["file", "folder"]


def test_a_failure_leaves_the_old_outputs_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError), files.replacing(file=tmp_path / "file", folder=tmp_path / "folder") as out:
        out.folder.mkdir()
        out.file.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize("name", ["table.csv", "folder/pixels.npy", "folder/below/manifest.csv"])
def test_links_into_a_cache_are_replaced_and_not_written_through(tmp_path, link, name):
    cached, output = tmp_path / "cached", tmp_path / "outputs" / name
    cached.write_text("old")
    output.parent.mkdir(parents=True)
    link(cached, output)
    target = tmp_path / "outputs" / name.partition("/")[0]
    with files.replacing(output=target) as out:
        written = out.output / output.relative_to(target)
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text("new")
    assert (cached.read_text(), output.read_text()) == ("old", "new")
    assert not output.is_symlink() and output.stat().st_nlink == cached.stat().st_nlink == 1


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".folder.tmp/half").touch()
    with files.replacing(folder=tmp_path / "folder") as out:
        out.folder.mkdir()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_scratch_folder_is_empty_and_goes(tmp_path):
    (tmp_path / ".scratch.tmp").mkdir()
    (tmp_path / ".scratch.tmp/left by a killed run").touch()
    with files.scratch(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_numbers_in_json_have_six_significant_digits(tmp_path):
    value = {"a": [1 / 3, (2e-7 / 3, 1234567.8)], "b": {"c": 0.1 + 0.2}, "count": 12345678, "text": "0.3333333333"}
    files.write_json(value, tmp_path / "numbers.json")
    assert files.read_json(tmp_path / "numbers.json") == {
        "a": [0.333333, [6.66667e-08, 1234570.0]], "b": {"c": 0.3}, "count": 12345678, "text": "0.3333333333",
    }  # fmt: skip


def test_numbers_in_tables_have_six_significant_digits_and_stay_numbers(tmp_path):
    table = pd.DataFrame({"x": [1 / 3, 2e-7 / 3], "n": [12345678, 2], "yes": [True, False]}).astype({"x": "float32"})
    files.write_csv(table, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == "0.333333,12345678,True"
    read = files.read_csv(tmp_path / "table.csv")
    assert read["x"].tolist() == [0.333333, 6.66667e-08] and read["yes"].tolist() == [True, False]


@pytest.mark.parametrize("name", ["NA", "007", "null", "1e5", "a\rb", "caf\udce9"])
def test_names_in_tables_are_text_of_any_kind(tmp_path, name):
    files.write_csv(pd.DataFrame({"class": [name, "b"], "value": [name, "7"], "label": 0}), tmp_path / "table.csv")
    table = files.read_csv(tmp_path / "table.csv")
    assert table["class"].tolist() == [name, "b"] and table["value"].tolist() == [name, "7"]


def test_bytes_that_are_no_text_are_escaped_for_readers_that_need_utf_8(tmp_path):
    files.write_csv(pd.DataFrame({"path": ["caf\udce9"]}), tmp_path / "table.csv", errors="backslashreplace")
    assert files.read_csv(tmp_path / "table.csv")["path"].tolist() == ["caf\\udce9"]


def test_json_is_in_the_language_of_the_names(tmp_path):
    files.write_json({"ü": 1}, tmp_path / "names.json")
    assert (tmp_path / "names.json").read_text(encoding="utf-8") == '{\n  "ü": 1\n}\n'
    assert json.loads((tmp_path / "names.json").read_bytes()) == {"ü": 1}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": 1', b"\xff\xfe{", b"<<<<<<< HEAD\n{}", b"[" * 5000, b"9" * 5000],
    ids=["empty", "cut", "cut in a value", "another encoding", "conflict", "brackets", "digits"],
)
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} is damaged or of an earlier version: run `dvc repro`.$"):
        files.read_json(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-4],  # within a text in quotes
        lambda text: text.replace(',2,"dog"', ""),
        lambda text: text + "<<<<<<< HEAD\n",
        lambda text: text.replace("1", "one"),
        lambda text: text + '"c",1,"c",1\n',
    ],
    ids=["empty", "cut", "cut before a cell", "conflict", "no number", "more cells"],
)
def test_a_damaged_table_is_named(tmp_path, change):
    path = tmp_path / "table.csv"
    files.write_csv(pd.DataFrame({"path": ["a", "b"], "number": [1, 2], "class": ["cat", "dog"]}), path)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=f"^{path} is damaged or of an earlier version: run `dvc repro`.$"):
        files.read_csv(path, types={"number": int})


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, a=np.arange(9), b=np.zeros(5))
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-40], whole[:60] + b"\0" * 30 + whole[90:], b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"^{path} is damaged"):
            files.read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"])
def test_a_damaged_array_is_named(tmp_path, content):
    path = tmp_path / "features.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} is damaged"):
        files.read_array(path)


def test_what_is_missing_is_no_damage(tmp_path):
    for read in (files.read_json, files.read_csv, files.read_arrays, files.read_array):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none")
