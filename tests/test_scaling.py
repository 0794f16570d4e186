"""The code that users copy from docs/scaling.md writes what predict gives, once for each image.

A stand-in replaces the cluster, because Dask is no requirement; tests/benchmarks/scaling.py runs it on one.
"""

import contextlib
import json
import re
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from stages.model import mobilenet_v2, network, saved_model
from stages.tools import predict
from tests.support import ROOT, SMALL_BLOCKS, amplify

SIZE = 32
MOST_LINES = 25  # maximum number of lines of code, without docstrings
IMAGES = ["a.jpg", "b [1].png", "ü.jpg", "no image.jpg", "missing.jpg", "late.jpg"]


@pytest.fixture
def label(tmp_path, monkeypatch):
    """The function of the code, in a folder with a small model and IMAGES; its worker is always the same one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)
    keras.utils.set_random_seed(0)
    made = network.build(SIZE, 3)
    amplify(made)
    saved_model.save(made, ["cat", "dog", "emu"], 1, Path(predict.MODEL))
    rng = np.random.default_rng(0)
    for name in IMAGES:
        if name == "no image.jpg":
            Path(name).write_bytes(b"text")
        elif name != "missing.jpg":
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(name)
    worker = types.SimpleNamespace(id="Worker-1")
    distributed = types.SimpleNamespace(Client=None, as_completed=None, get_worker=lambda: worker)
    monkeypatch.setitem(sys.modules, "dask", types.ModuleType("dask"))
    monkeypatch.setitem(sys.modules, "dask.distributed", distributed)
    names = {"__name__": "label"}
    exec(code(), names)
    return names["label"]


def code():
    """The code in docs/scaling.md."""
    [block] = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/scaling.md").read_text(), re.DOTALL | re.MULTILINE)
    return block


def rows(part):
    return [json.loads(line) for line in Path(part).read_text().splitlines()]


def test_a_chunk_gets_what_predict_gives(label):
    label(IMAGES, "part.jsonl")
    found = rows("part.jsonl")
    assert [row["path"] for row in found] == IMAGES
    for row, expected in zip(found, predict.predict(IMAGES), strict=True):
        assert row["predicted"] == expected.predicted
        assert bool(row["problem"]) == bool(expected.problem) == (row["path"] in ("no image.jpg", "missing.jpg"))
        assert row["unlike"] == expected.unlike and row["novelty"] == pytest.approx(expected.novelty, abs=1e-3)
        assert row.get("prediction_set") == expected.prediction_set
        if expected.probabilities:
            assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert sorted(path.name for path in Path().glob("*.jsonl*")) == ["part.jsonl"]


def test_a_chunk_that_is_done_is_not_predicted_again(label, monkeypatch):
    for chunk in (IMAGES[:1], IMAGES[1:3], IMAGES[2:]):
        label(chunk, "part.jsonl")
        with monkeypatch.context() as patch:
            patch.setattr(predict, "predict", None)
            label(chunk, "part.jsonl")
        assert [row["path"] for row in rows("part.jsonl")] == chunk  # and another list is predicted anew


def test_a_chunk_that_could_not_be_read_leaves_nothing(label, monkeypatch):
    Path("a.jpg").unlink()
    Path("a.jpg").mkdir()
    with pytest.raises(TypeError, match="IsADirectoryError"):
        label(IMAGES, "part.jsonl")
    assert not list(Path().glob("*.jsonl*"))


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("a.jpg\nb 1.jpg \nü.jpg\n", [["a.jpg", "b 1.jpg ", "ü.jpg"]]),
        ("a.jpg\n\nb.jpg\n\n", [["a.jpg", "b.jpg"]]),
        ("\n" * 300 + "a.jpg", [["a.jpg"]]),
        ("\ufeffa.jpg\r\nb.jpg\r\n", [["a.jpg", "b.jpg"]]),  # of Windows
        ("a.jpg\n" * 600, [["a.jpg"] * 256, ["a.jpg"] * 256, ["a.jpg"] * 88]),
        ("", []),
    ],
    ids=range(6),
)
def test_the_lines_of_the_list_are_shared_out_in_chunks(tmp_path, monkeypatch, listing, expected):
    class Client(contextlib.nullcontext):
        def __enter__(self):
            return types.SimpleNamespace(submit=lambda _, *arguments: submitted.append(arguments))

    class Running(list):
        update = list.extend

    submitted = []
    distributed = types.SimpleNamespace(
        Client=Client, as_completed=lambda tasks, with_results: Running(tasks), get_worker=None
    )
    monkeypatch.setitem(sys.modules, "dask", types.ModuleType("dask"))
    monkeypatch.setitem(sys.modules, "dask.distributed", distributed)
    (tmp_path / "list.txt").write_bytes(listing.encode())
    monkeypatch.setattr(sys, "argv", ["label.py", str(tmp_path / "list.txt"), "out"])
    exec(code(), {"__name__": "__main__"})
    assert submitted == [(chunk, f"out/000000{number}.jsonl") for number, chunk in enumerate(expected)]


def test_the_code_is_short():
    lines = [line.strip() for line in code().splitlines()]
    assert sum(bool(line) and not line.startswith('"""') for line in lines) <= MOST_LINES
