import codecs
import csv
import functools
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rich.cells import cell_len

from stages.common.cli import UserError
from stages.decoding import decode
from stages.evaluation import drift
from stages.model import network, saved_model
from stages.model.temperature import scale_probabilities
from stages.tools import active_learning, drift_report, inference, predict
from tests.benchmarks import fuzz
from tests.support import ROOT, make_images, principal_components, run_command

CLASSES = ["cat", "nöt cat"]
load_from = saved_model.load


@functools.cache
def load_in(folder, path):
    """Loads a model once for each working folder, in which a relative path is another model."""
    return load_from(path)


def load(path):
    return load_in(os.getcwd() if not os.path.isabs(path) else "", path)


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    """The folder of a model of 32 pixels and two classes."""
    made = network.build(32, 2)
    network.load_base(made, weights)
    folder = tmp_path_factory.mktemp("models") / "model"
    saved_model.save(made, CLASSES, 2, folder)
    return folder


@pytest.fixture
def images(tmp_path):
    """A folder of 40 images, more than a batch, of which two cannot be read."""
    folder = make_images(tmp_path / "images", {"x/deeper": 20, "y": 20})
    (folder / "x/deeper/003.png").write_bytes((folder / "x/deeper/003.png").read_bytes()[:60])
    (folder / "y/007.png").write_text("no image")
    (folder / "y/.hidden.png").write_text("ignored")
    return folder


def run(capsys, *arguments, status=0):
    """Runs the command and returns what it wrote to standard output and standard error."""
    return run_command(predict.main, "predict", arguments, capsys, status)


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """Undoes what the command sets for its process; loads each model once."""
    monkeypatch.setattr(saved_model, "load", load)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr("os._exit", sys.exit)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


def test_predicts_what_the_model_says_of_the_pixels_that_split_packs(model, images):
    found = list(predict.predict([images, str(images / "y/000.png")], model))
    names = [*(f"x/deeper/{i:03}.png" for i in range(20)), *(f"y/{i:03}.png" for i in (*range(20), 0))]
    assert [os.path.relpath(x.path, images) for x in found] == names
    assert [names[i] for i, x in enumerate(found) if x.problem] == ["x/deeper/003.png", "y/007.png"]
    good = [x for x in found if not x.problem]
    pixels = np.stack([decode.decode(x.path, 32)[2] for x in good])
    expected = load(model).signatures["serving_uint8"](images=pixels)["probabilities"].numpy()
    assert np.ptp(expected[:, 0]) > 0.01
    # In batches of another size, TensorFlow adds up in another order.
    np.testing.assert_allclose([list(x.probabilities.values()) for x in good], expected, atol=1e-5)
    assert [x.predicted for x in good] == [CLASSES[i] for i in expected.argmax(axis=1)]
    assert all(x.probability == max(x.probabilities.values()) and list(x.probabilities) == CLASSES for x in good)


@pytest.mark.parametrize(
    "name", ["a\x1b[31mred", "two\nlines", "\u202eleft", "zero\u200bwidth", "[red]x[/red]", "小狗"]
)
def test_names_of_classes_are_shown_like_paths_and_leave_the_columns_aligned(capsys, name):
    found = [
        inference.Prediction(path, predicted, 0.75, novelty=novelty)
        for path, predicted, novelty in [("1.png", "cat", 0.5), (f"{name}.png", name, 1.5)]
    ]
    predict.write_table(found, ["cat", name])
    lines = capsys.readouterr().out.splitlines()
    shown = name if name.isprintable() else repr(name)
    assert [" ".join(line.split()) for line in lines] == [
        "predicted probability novelty path",
        "cat 75.0% 0.50 1.png",
        f"{shown} 75.0% unlike 1.50 " + (f"{name}.png" if name.isprintable() else repr(f"{name}.png")),
    ]
    ends = [cell_len(line[: line.index(word)]) for line, word in zip(lines, ["path", "1.png", "75.0%"], strict=True)]
    assert ends[0] == ends[1] == ends[2] + len("75.0%  unlike 1.50  ")


def test_one_path_is_one_path(model, tmp_path, monkeypatch):
    monkeypatch.chdir(make_images(tmp_path / "images", {"a.b": 2}))
    for path in ("a.b/000.png", Path("a.b/000.png"), os.path.abspath("a.b/000.png"), np.str_("a.b/000.png")):
        assert [x.path for x in predict.predict(path, model)] == [str(path)]
    assert [x.path for x in predict.predict("a.b", model)] == ["a.b/000.png", "a.b/001.png"]
    assert [x.path for x in predict.predict(np.array(["a.b/000.png", "a.b/001.png"]), model)] == [
        "a.b/000.png",
        "a.b/001.png",
    ]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "I;16", "F"])
def test_an_image_in_memory_gets_what_its_file_gets(model, tmp_path, mode):
    kind = "TIFF" if mode in ("CMYK", "F", "I;16") else "PNG"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 4), np.uint8)
    image = Image.fromarray(pixels).convert("L" if mode in ("F", "I;16") else "RGB")
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    (image.convert("RGB") if mode == "YCbCr" else image).save(tmp_path / "image", kind)
    [file], [memory] = predict.predict(tmp_path / "image", model), predict.predict(image, model)
    assert (memory.path, memory.problem) == ("", "") and memory.probabilities == file.probabilities


def test_arrays_bytes_and_rotated_images_are_predicted_as_well(model, images):
    path = images / "y/000.png"
    [expected] = predict.predict(path, model)
    array = np.asarray(Image.open(path))
    for source in (array, path.read_bytes(), Image.open(path), array[..., [0, 1, 2]]):
        [found] = predict.predict(source, model)
        assert found.probabilities == expected.probabilities
    rotated = Image.fromarray(np.rot90(array))
    rotated.getexif()[0x0112] = 6
    mixed = [path, array, rotated, b"no image", b"", np.full((3, 3, 3), 999.0), path.read_bytes()[:60]]
    *good, _, _, _, _ = found = list(predict.predict(mixed, model))
    assert [bool(x.problem) for x in found] == [False] * 3 + [True] * 4
    assert all(x.probabilities == pytest.approx(expected.probabilities, abs=1e-5) for x in good)
    assert rotated.getexif()[0x0112] == 6
    assert len(list(predict.predict(np.stack([array] * 3), model))) == 3


@pytest.mark.parametrize("name", ["фото", "my model (1)", "[x]", "a\\b", "{a,b}", "it's", "a#b=c", "*"])
def test_folders_of_images_and_models_have_names_of_any_characters(model, images, tmp_path, name):
    shutil.copytree(model, tmp_path / name / "model")
    shutil.copy(images / "y/000.png", tmp_path / name / "image.png")
    [found] = predict.predict(tmp_path / name / "image.png", tmp_path / name / "model")
    assert found.predicted in CLASSES and found.path == str(tmp_path / name / "image.png")


def test_arrays_of_other_types_and_shapes_are_the_same_image(model, images):
    image = Image.open(images / "y/000.png")
    colour, grey = np.asarray(image), np.asarray(image.convert("L"))
    for plain, others in {
        "colour": (colour, [colour / 255, colour.astype(np.float32), colour.astype(int), (colour / 255).astype("f4")]),
        "grey": (grey, [grey[..., np.newaxis], grey.astype(np.int64), grey[..., np.newaxis] / 255.0]),
    }.values():
        [expected] = predict.predict(plain, model)
        for other in others:
            [found] = predict.predict(other, model)
            assert (found.problem, found.probabilities) == ("", expected.probabilities)
    for wrong in (colour.astype(np.uint16) * 257, colour - 300.0, np.full((4, 4, 3), np.nan)):
        [found] = predict.predict(wrong, model)
        assert "give uint8, or floating-point numbers" in found.problem


@pytest.mark.parametrize(
    ("path", "problem"),
    [("", "an empty path"), ("a\0b", "null"), ("x" * 999, "too long"), ("no/x.png", "No such file")],
)
def test_a_path_of_nothing_is_one_image_that_cannot_be_read(model, path, problem):
    [found] = predict.predict(path, model)
    assert found.path == path and problem in found.problem


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        None,
        [3],
        [None],
        [["a.png"]],
        {"a.png": 1},
        io.BytesIO(b"x"),
        bytearray(b"x"),
        memoryview(b"x"),
        [io.BytesIO()],
    ],
)
def test_what_is_no_image_is_a_type_error(model, wrong):
    with pytest.raises(TypeError, match="no path, PIL image, NumPy array or content of a file"):
        list(predict.predict(wrong, model))


LIST = "data/ä b.png\r\n\r\ndata/c.png"


@pytest.mark.parametrize(
    "data",
    [
        LIST.encode(),
        codecs.BOM_UTF8 + LIST.encode() + b"\r\n",
        codecs.BOM_UTF8 + LIST.replace("\r", "").encode(),
        codecs.BOM_UTF16_LE + LIST.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LIST.encode("utf-16-be"),
    ],
)
def test_takes_lists_from_windows(data):
    assert list(filter(None, predict.split_list(data))) == ["data/ä b.png", "data/c.png"]


def test_the_threshold_decides_for_the_second_class_and_the_temperature_scales(model, images, tmp_path, capsys):
    path = images / "y/000.png"
    [plain], [calibrated] = predict.predict([path], model), predict.predict([path], model, calibrated=True)
    second = plain.probabilities["nöt cat"]
    for threshold, name in ((second - 1e-3, "nöt cat"), (second + 1e-3, "cat")):
        saved_model.copy(model, tmp_path / name, {"threshold": threshold})
        [of_model], [given] = predict.predict([path], tmp_path / name), predict.predict([path], model, threshold)
        for prediction in (of_model, given):
            assert (prediction.predicted, prediction.probability) == (name, plain.probabilities[name])
        [prediction] = predict.predict([path], tmp_path / name, calibrated=True)  # decides on unscaled probabilities
        assert (prediction.predicted, prediction.probability) == (name, calibrated.probabilities[name])
        for arguments, expected in (([], name), (["--threshold", 0], "nöt cat"), (["--threshold", 1], "cat")):
            output, _ = run(capsys, path, "--model", tmp_path / name, "--format", "csv", *arguments)
            assert next(csv.DictReader(io.StringIO(output)))["predicted"] == expected
    expected = scale_probabilities(np.array([list(plain.probabilities.values())]), 2)
    np.testing.assert_allclose([list(calibrated.probabilities.values())], expected, atol=1e-6)
    assert abs(calibrated.probability - 0.5) < abs(plain.probability - 0.5)


def test_a_model_of_an_earlier_version_is_one_line(images, tmp_path, capsys):
    module = tf.Module()
    module.temperature = tf.Variable(1.0)
    tf.saved_model.save(module, tmp_path / "old")
    output, errors = run(capsys, images, "--model", tmp_path / "old", status=1)
    assert output == "" and errors.count("\n") == 1 and "of an earlier version: run `dvc repro`" in errors


def test_the_formats_and_the_exit_status(model, images, capsys):
    output, errors = run(capsys, images, "--model", model, status=1)
    table, counts = output.split("\n\n")
    assert errors.splitlines() == [
        f"{images}/x/deeper/003.png: image file is truncated",
        f"{images}/y/007.png: not an image in a known format, or truncated",
        predict.NO_NOVELTY,
    ]
    head, *lines = table.splitlines()
    assert head.split() == ["predicted", "probability", "novelty", "path"] and len(lines) == 38
    assert all(line.index("/") == head.index("path") for line in lines)
    assert counts.splitlines() == [
        "predicted  images",
        *(f"{name:9}  {count:6}" for name, count in Counter(line[:7].strip() for line in lines).most_common()),
    ]
    lines, errors = run(capsys, images / "y", "--model", model, "--format", "jsonl", status=1)
    assert errors.splitlines()[1] == "predicted  images"
    text, errors = run(capsys, images / "y", "--model", model, "--format", "csv", status=1)
    assert errors.splitlines()[1] == "predicted  images"
    for row, line in zip(csv.DictReader(io.StringIO(text)), lines.splitlines(), strict=True):
        other = json.loads(line)
        assert list(other) == ["path", "predicted", "probability", "novelty", "unlike", "probabilities"]
        named = ["path", "predicted", "probability", "novelty", "unlike"]
        assert list(row) == [*named, "probability_cat", "probability_nöt cat"]
        assert (row["novelty"], other["novelty"], row["unlike"], other["unlike"]) == ("", None, "", None)
        assert (row["path"], row["predicted"]) == (other["path"], other["predicted"])
        assert float(row["probability_nöt cat"]) == pytest.approx(other["probabilities"]["nöt cat"], abs=1e-6)
    output, errors = run(capsys, images / "y/000.png", "--model", model, status=0)
    assert output.count("\n") == 2 and errors == f"{predict.NO_NOVELTY}\n"  # one image needs no counts


@pytest.mark.parametrize(
    ("classes", "shown", "last"), [(2, 2, None), (20, 20, None), (21, 10, "11 more classes, of 66")]
)
@pytest.mark.parametrize("format_", ["table", "csv"])
def test_of_many_classes_the_most_frequent_are_counted(capsys, classes, shown, last, format_):
    totals = predict.Totals(Counter({f"小 {k}": k + 1 for k in range(classes)}), 1)
    predict.write_totals(totals, format_, True)
    captured = capsys.readouterr()
    lines = (captured.out.removeprefix("\n") if format_ == "table" else captured.err).splitlines()
    assert not (captured.err if format_ == "table" else captured.out)
    assert lines.pop() == f"1 of {totals.predicted.total()} images is unlike the training images."
    assert lines[0] == "predicted  images" and lines[1].split() == ["小", str(classes - 1), str(classes)]
    assert len(lines) == 1 + shown + (last is not None) and (last is None or lines[-1] == f"and {last} images")
    assert len({cell_len(line) for line in lines[: shown + 1]}) == 1


@pytest.fixture
def pipeline(model, images, tmp_path, monkeypatch):
    """A folder with the model of a pipeline; images/y is like the training images, images/noise is not."""
    monkeypatch.chdir(tmp_path)
    Path("data/models").mkdir(parents=True)
    (images / "noise").mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(images / f"noise/{number:02}.png")
    known, noise = (features(model, path) for path in (images / "y", images / "noise"))
    values = principal_components(known, len(known) - 1)  # all: nothing of these images is left
    units = noise / np.linalg.norm(noise, axis=1, keepdims=True) - values["novelty_mean"]
    residuals = np.linalg.norm(units - units @ values["novelty_components"].T @ values["novelty_components"], axis=1)
    saved_model.copy(model, Path("data/models/classifier"), values | {"novelty_threshold": residuals.min() / 2})
    return images


def features(model, folder):
    pixels = [decode.decode(str(path), 32)[2] for path in sorted(folder.glob("[0-9]*.png")) if path.name != "007.png"]
    return load(model).predict(np.stack(pixels))["features"].numpy()


def ranked(capsys, model, *arguments, status=0):
    """The rows of --rank, as a list of dicts."""
    text, _ = run(capsys, *arguments, "--model", model, "--rank", "--format", "csv", status=status)
    return list(csv.DictReader(io.StringIO(text)))


def test_ranks_the_images_of_a_folder_without_near_duplicates(model, images, tmp_path, capsys):
    for number in range(4):
        image = Image.open(images / f"y/{number:03}.png")
        image.resize((48, 48)).save(images / f"x/copy {number}.jpg", quality=90)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(images / f"x/mirrored {number}.png")
    rows = ranked(capsys, model, images, status=1)
    names = [os.path.relpath(row["path"], images) for row in rows]
    assert len(names) == len(set(names)) == 38
    for number in range(4):
        assert len({f"y/{number:03}.png", f"x/copy {number}.jpg", f"x/mirrored {number}.png"} & set(names)) == 1
    assert list(rows[0])[:6] == ["path", "predicted", "probability", "novelty", "unlike", "similar_images"]
    [plain] = predict.predict(rows[0]["path"], model)
    assert float(rows[0]["probability"]) == pytest.approx(plain.probability, abs=1e-5)
    assert rows[0]["predicted"] == plain.predicted


def test_each_ranked_image_stands_for_its_like(model, images, capsys, monkeypatch):
    monkeypatch.setattr(active_learning, "MOST", 5)
    rows = ranked(capsys, model, images, status=1)
    assert len(rows) == 5 and sum(int(row["similar_images"]) + 1 for row in rows) == 38
    table, errors = run(capsys, images, "--model", model, "--rank", status=1)
    table, counts = table.split("\n\n")
    head, *lines = table.splitlines()
    assert head.split() == ["predicted", "probability", "novelty", "similar", "images", "path"]
    assert [line[line.index("/") :] for line in lines] == [row["path"] for row in rows]
    assert all(line.index("/") == head.index("path") for line in lines)
    assert [line.split("%")[1].split()[1] for line in lines] == [row["similar_images"] for row in rows]
    assert sum(int(line.split()[-1]) for line in counts.splitlines()[1:]) == 38  # of all images
    assert len(errors.splitlines()) == 3
    lines, _ = run(capsys, images, "--model", model, "--rank", "--format", "jsonl", status=1)
    assert [json.loads(line)["similar_images"] for line in lines.splitlines()] == [
        int(row["similar_images"]) for row in rows
    ]


@pytest.mark.parametrize("names", [["y/000.png"], ["y/000.png", "y/001.png"], ["y/000.png"] * 3, ["y/007.png"]])
def test_ranks_few_images_too(model, images, capsys, names):
    readable = {name for name in names if name != "y/007.png"}
    rows = ranked(capsys, model, *(images / name for name in names), status=0 if readable else 1)
    assert {os.path.relpath(row["path"], images) for row in rows} == readable and len(rows) == len(readable)


@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_warns_if_most_images_are_unlike_the_training_images(pipeline, capsys, format_):
    output, errors = run(capsys, pipeline / "noise", "--format", format_)
    assert errors.splitlines()[-1].startswith("WARNING: 12 of 12 images are unlike the training images, and the pred")
    assert "WARNING" not in output
    for few in (["000", "001", "002"], ["000", "001", "002", "003", "004", "005", "006", "008", "009", "010", "011"]):
        known = [pipeline / f"y/{name}.png" for name in few]
        unknown = sorted((pipeline / "noise").iterdir())[: 1 if len(few) < 4 else 8]
        output, errors = run(capsys, *known, *unknown, "--format", format_)
        count = "1 of 4 images is" if len(few) < 4 else "8 of 19 images are"
        closing = (output if format_ == "table" else errors).splitlines()[-1]
        assert closing == f"{count} unlike the training images." and "WARNING" not in errors
    assert "WARNING" not in run(capsys, *sorted((pipeline / "noise").iterdir())[:4], "--format", format_)[1]


@pytest.mark.parametrize("ranked", [False, True])
def test_every_format_tells_which_images_are_unlike_the_training_images(pipeline, capsys, ranked):
    paths = [pipeline / "y/000.png", pipeline / "noise/00.png", pipeline / "noise/01.png"]
    arguments = [*paths, *(["--rank"] if ranked else [])]
    expected = {str(x.path): (x.novelty, x.unlike) for x in predict.predict(paths)}
    assert [unlike for _, unlike in expected.values()] == [False, True, True]
    table, _ = run(capsys, *arguments)
    lines = run(capsys, *arguments, "--format", "jsonl")[0].splitlines()
    rows = [*csv.DictReader(io.StringIO(run(capsys, *arguments, "--format", "csv")[0]))]
    assert len(lines) == len(rows) == 3
    for text, row, shown in zip(lines, rows, table.splitlines()[1:4], strict=True):
        novelty, unlike = expected[row["path"]]
        assert json.loads(text)["path"] == row["path"] and row["path"] in shown
        assert json.loads(text)["novelty"] == pytest.approx(novelty, rel=1e-3)
        assert float(row["novelty"]) == pytest.approx(novelty, rel=1e-3)
        assert json.loads(text)["unlike"] is unlike is json.loads(row["unlike"]) is ("unlike " in shown)
        assert f"{json.loads(text)['novelty']:.2f}" in shown
    assert "2 of 3 images are unlike the training images." in table


@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_strict_is_an_exit_status_of_its_own(pipeline, model, capsys, format_):
    known, unknown, broken = pipeline / "y/000.png", pipeline / "noise/00.png", pipeline / "y/007.png"
    cases = {(known,): 0, (unknown,): 3, (known, unknown): 3, (known, broken): 1, (unknown, broken): 1}
    for paths, status in cases.items():
        plain, _ = run(capsys, *paths, "--format", format_, status=1 if broken in paths else 0)
        strict, _ = run(capsys, *paths, "--format", format_, "--strict", status=status)
        assert strict == plain
    run(capsys, unknown, known, "--rank", "--strict", "--format", format_, status=3)
    output, errors = run(capsys, known, "--model", model, "--strict", "--format", format_, status=1)
    assert output == "" and errors.startswith("ERROR: --strict needs a model") and errors.count("\n") == 1


def test_novelty_needs_the_model_alone_and_a_model_without_a_threshold_says_so_once(pipeline, model, capsys, tmp_path):
    expected, _ = run(capsys, pipeline / "noise", "--format", "csv")
    shutil.move("data/models/classifier", tmp_path / "elsewhere")
    output, errors = run(capsys, pipeline / "noise", "--model", tmp_path / "elsewhere", "--format", "csv")
    assert output == expected and "WARNING: 12 of 12" in errors
    output, errors = run(capsys, pipeline / "noise", "--model", model)
    assert (output + errors).count(predict.NO_NOVELTY) == 1 and "WARNING" not in errors
    assert all(line.split("%")[1].split()[0] == "-" for line in output.splitlines()[1:13])
    assert all((x.novelty, x.unlike) == (None, None) for x in predict.predict(pipeline / "noise", model))


def test_drift_says_how_images_differ_from_the_validation_images(pipeline, model, capsys, tmp_path):
    assert "reference.npz is missing" in run(capsys, pipeline / "noise", "--drift", status=1)[1]
    paths = [path for path in sorted((pipeline / "y").glob("0*.png")) if path.name != "007.png"]
    collector, loaded = drift_report.Collector(), predict.load()
    for _ in inference.classify(inference.find(paths), loaded, None, False, on_batch=collector.add):
        pass
    Path("data/evaluation").mkdir()
    drift.save(Path(drift.FILE), collector.sample())
    output, errors = run(capsys, pipeline / "noise", pipeline / "y/007.png", "--drift", status=1)
    assert output.startswith("Drift: 12 images and 19 validation images differ in the share unlike the training images")
    assert output.count("\n") == 1 and "y/007.png: not an image" in errors and "predicted  images" not in errors
    found = json.loads(run(capsys, pipeline / "noise", "--drift", "--strict", "--format", "jsonl", status=3)[0])
    assert found["novelty"]["images"] == 1 and "features" in found["differs"]
    assert run(capsys, *paths, "--drift")[0].startswith("No drift was found: 19 images and 19 validation images")
    output, errors = run(capsys, paths[0], "--drift", "--model", model, status=1)
    assert output == "" and "lies elsewhere" in errors and errors.count("\n") == 1
    for other in (["--rank"], ["--format", "csv"]):
        assert run(capsys, paths[0], "--drift", *other, status=2)[0] == ""
    without_threshold = tmp_path / "project" / drift_report.MODEL
    shutil.copytree(model, without_threshold)
    (tmp_path / "project/data/evaluation").mkdir()
    shutil.copy(drift.FILE, tmp_path / "project" / drift.FILE)
    _, errors = run(capsys, *paths, "--drift", "--model", without_threshold)
    assert errors.splitlines() == [predict.NO_NOVELTY]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_takes_a_list_with_names_of_any_bytes(model, tmp_path, capsys, monkeypatch, end):
    odd = tmp_path / ("two\nlines.png" if end == b"\0" else "a\rb.png")
    Image.new("RGB", (9, 9)).save(odd)
    names = [os.fsencode(odd), os.fsencode(tmp_path / "gone.png"), b""]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(end.join(names))))
    text, errors = run(capsys, "-", "--model", model, "--format", "csv", status=1)
    assert [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))] == [str(odd)]
    assert errors.splitlines()[0] == f"{tmp_path}/gone.png: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["empty"], "there is no image in empty"),
        (["-"], "there is no image in -"),
        (["image.png", "--model", "empty"], "empty holds no complete SavedModel"),
        (["image.png"], "data/models/classifier holds no complete SavedModel of this pipeline: run `dvc repro`"),
        (["image.png", "--model", "model", "--threshold", "nan"], "must be from 0 to 1"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(model, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (9, 9)).save("image.png")
    (tmp_path / "model").symlink_to(model)
    output, errors = run(capsys, *arguments, status=1)
    assert output == "" and errors.count("\n") == 1 and words in errors


def test_paths_with_control_characters_are_escaped(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make_images(tmp_path / "images", {"\x1b[31m": 1}))
    Path("\x1b[2Jbroken.png").write_text("no image")
    table, errors = run(capsys, ".", "--model", model, status=1)
    assert r"'./\x1b[31m/000.png'" in table and r"'./\x1b[2Jbroken.png': not an image" in errors
    Path("\x1b[empty").mkdir()
    for argument, words in {"\x1b[2J": r"'\x1b[2J' does not exist", "\x1b[empty": r"no image in '\x1b[empty'"}.items():
        assert words in run(capsys, argument, "--model", model, status=1)[1]


def test_more_than_two_classes_have_no_threshold():
    model = SimpleNamespace(class_names=SimpleNamespace(numpy=lambda: [b"a", b"b", b"c"]))
    with pytest.raises(UserError, match="the model has 3"):
        inference.classify([], model, 0.5, False)


def test_folders_are_read_as_split_reads_them(tmp_path):
    folder = make_images(tmp_path / "images", {"a": 1})
    (folder / "Thumbs.db").touch()
    (folder / "link.png").symlink_to("nothing")
    (folder / "a/up").symlink_to("..")
    os.mkfifo(folder / "pipe.png")
    (folder / "a/000.png.json").write_text("{}")  # a text beside an image, as of Google Takeout
    found = {os.path.relpath(path, folder): problem for path, problem in inference.find([folder])}
    assert found == {
        "a/000.png": "",
        "a/up": "a link to a folder that it lies in",
        "link.png": "a link to nothing",
        "pipe.png": "a named pipe",
    }


def test_decodes_only_a_few_batches_ahead(model, images, monkeypatch):
    seen = []

    def decode(path, size, background):
        seen.append(path)
        return "", (size, size), np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(inference, "decode", decode)
    predictions = predict.predict([images / "y/000.png"] * 320, model)
    next(predictions)
    assert len(seen) <= 3 * inference.BATCH
    assert 1 + len(list(predictions)) == 320


def test_needs_only_its_own_modules_and_the_model_and_ends_quietly_when_its_reader_does(model, images, tmp_path):
    shutil.copytree(ROOT / "stages", tmp_path / "copy/stages")
    shutil.copytree(model, tmp_path / "elsewhere/model")
    shell = f"{sys.executable} -m stages.tools.predict ../images ../images --model model; echo $? >status"
    result = subprocess.run(
        f"({shell}) | head -n 2",
        shell=True,
        cwd=tmp_path / "elsewhere",
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy")},
    )
    assert result.stdout.count("\n") == 2 and "Traceback" not in result.stderr and "Broken" not in result.stderr
    assert int((tmp_path / "elsewhere/status").read_text()) in (1, 141)  # all was written before head ended, or not


@pytest.mark.filterwarnings("ignore")  # what Pillow says of odd metadata
def test_broken_and_odd_files_end_in_an_error_each(model, tmp_path):
    sources = fuzz.images()
    for number in range(99):
        _, data = fuzz.case(2, number, sources)
        for function in (fuzz.predict, fuzz.serve):
            assert function(load(model), data, tmp_path / "case") in ("probabilities", "error"), number


@pytest.mark.parametrize("overshoot", [1.0001, 1.02, 1.05])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
@pytest.mark.parametrize("as_image", [False, True])
def test_a_floating_point_image_that_overshoots_1_is_clipped(overshoot, shape, as_image):
    array = np.random.default_rng(0).random(shape).astype(np.float32)
    array[0, 0] = 1
    expected = inference._pixels(array, 8, "white")[1]
    array[0, 0], array[1, 1] = overshoot, -1e-7
    clipped = inference._pixels(np.clip(array, 0, 1), 8, "white")[1]
    source = Image.fromarray(array) if as_image and array.ndim == 2 else array
    seen = inference._pixels(source, 8, "white")[1]
    assert (seen == clipped).all() and seen.max() == expected.max() == 255


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_a_floating_point_image_of_unknown_range_is_refused(shape):
    with pytest.raises(ValueError, match="up to 1.5, which may be from 0 to 1 or from 0 to 255"):
        inference._pixels(np.full(shape, 1.5), 8, "white")


@pytest.mark.parametrize("low, high", [(-2.03, 2.02), (-1, 1), (-0.1, 1), (-20, 255), (0, 300)])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_standardized_values_are_refused(shape, low, high):
    array = np.linspace(low, high, 192)[: np.prod(shape)].reshape(shape)
    array[0, 0] = high
    with pytest.raises(ValueError, match="which may be from 0 to 1|a range that is not supported"):
        inference._pixels(array, 8, "white")[1]


@pytest.mark.parametrize("shape", [(2, 20, 30), (20, 30, 5), (0, 20), (20, 0, 3)])
def test_an_array_of_no_image_s_shape_is_named(shape):
    with pytest.raises(ValueError, match="an array of shape .* give .height, width. or"):
        inference._pixels(np.zeros(shape, np.uint8), 8, "white")


@pytest.mark.parametrize("shape", [(3, 20, 30), (1, 20, 30), (4, 32, 32)])
def test_an_array_whose_channels_come_first_is_named(shape):
    for dtype in (np.uint8, np.float32):
        with pytest.raises(ValueError, match="channels come first: move them last"):
            inference._pixels(np.zeros(shape, dtype), 8, "white")


@pytest.mark.parametrize("background", ["black", "tomato", "#0180fe"])
def test_the_model_s_background_is_used(weights, tmp_path, background):
    saved_model.save(network.build(32, 2), CLASSES, 1, tmp_path / "model", background)
    clear, expected = Image.new("RGBA", (32, 32), (9, 9, 9, 0)), Image.new("RGB", (32, 32), background)
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    of_file, of_image, right = predict.predict([buffer.getvalue(), clear, expected], tmp_path / "model")
    assert of_file.probabilities == of_image.probabilities == right.probabilities
    served = saved_model.load(tmp_path / "model").signatures["serving_bytes"](image_bytes=[buffer.getvalue()])
    np.testing.assert_allclose(served["probabilities"][0], list(right.probabilities.values()), atol=1e-5)


def fake(sizes=None, classes=CLASSES, novelty_threshold=1.0, set_threshold=0.0):
    """A model whose probabilities are the brightness of the image, and notes the sizes of batches.

    The second class has the brightness of red, the others share the rest; green is the novelty, 1 at 100.
    """

    def serve(images):
        if sizes is not None:
            sizes.append(len(images))
        second, others = images[:, 0, 0, 0] / 255, len(classes) - 1
        probabilities = np.stack([second if k == 1 else (1 - second) / others for k in range(len(classes))], axis=1)
        return {"probabilities": tf.constant(probabilities), "novelty": tf.constant(images[:, 0, 0, 1] / 100)}

    return SimpleNamespace(
        class_names=tf.constant(classes),
        novelty_threshold=novelty_threshold,
        set_threshold=set_threshold,
        threshold=0.5,
        temperature=1.0,
        image_size=8,
        background=tf.constant("white"),
        signatures={"serving_uint8": serve},
    )


def grey(level, green=None):
    pixels = np.full((9, 9, 3), level, np.uint8)
    pixels[..., 1] = level if green is None else green
    return pixels


@pytest.mark.parametrize(("green", "unlike"), [(0, False), (99, False), (100, False), (101, True), (255, True)])
def test_an_image_above_1_is_unlike_the_training_images(green, unlike):
    [found] = predict.predict(grey(7, green), fake())
    assert found.novelty == pytest.approx(green / 100) and found.unlike is unlike
    [of_none] = predict.predict(grey(7, green), fake(novelty_threshold=np.inf))
    assert (of_none.novelty, of_none.unlike) == (None, None)
    [broken] = predict.predict(b"", fake())
    assert broken.problem and (broken.novelty, broken.unlike, broken.prediction_set) == (None, None, None)


@pytest.mark.parametrize(
    ("level", "threshold", "expected"),
    [
        (204, 0.5, ["b"]),  # 0.8, and 0.1 of each other class
        (204, 0.09, ["b", "a", "c"]),
        (204, 0.11, ["b"]),
        (204, 0.9, ["b"]),  # none reaches it: the most probable class
        (102, 0.35, ["b"]),  # 0.4 and 0.3
        (51, 0.3, ["a", "c"]),  # 0.2 and 0.4
        (51, 0, ["a", "c", "b"]),
    ],
)
@pytest.mark.parametrize("calibrated", [False, True])
def test_prediction_sets_hold_the_classes_that_reach_the_threshold(level, threshold, expected, calibrated):
    model = fake(classes=["a", "b", "c"], set_threshold=threshold)
    model.temperature = 9.0  # scaled probabilities are almost the same; sets refer to unscaled ones
    [found] = predict.predict(grey(level), model, calibrated=calibrated)
    assert found.prediction_set == expected and found.prediction_set[0] == found.predicted
    [of_two] = predict.predict(grey(level), fake(set_threshold=threshold))
    assert of_two.prediction_set is None


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_record_is_what_json_has(classes):
    names = list("abcde")[:classes]
    [found] = predict.predict(grey(100, 150), fake(classes=names))
    record = json.loads(json.dumps(inference.record(found)))
    sets = {"prediction_set": found.prediction_set} if classes > 2 else {}
    assert list(record) == ["path", "predicted", "probability", "novelty", "unlike", *sets, "probabilities"]
    assert record == {
        "path": "",
        "predicted": found.predicted,
        "probability": found.probability,
        "novelty": found.novelty,
        "unlike": True,
        **sets,
        "probabilities": found.probabilities,
    }


def levels(predictions):
    return [round(255 * x.probabilities["nöt cat"]) for x in predictions]


class Camera:
    """An iterator that is no generator: frame `level` after frame `level - 1`, once `ready` returns."""

    def __init__(self, ready):
        self.ready, self.level = ready, -1

    def __iter__(self):
        return self

    def __next__(self):
        self.level += 1
        self.ready()
        return grey(self.level)


def test_a_loaded_model_is_taken_again_and_again(model, images, monkeypatch):
    loaded = predict.load(model)
    monkeypatch.setattr(saved_model, "load", None)
    for sources in (images / "y/000.png", [images / "y"], np.asarray(Image.open(images / "y/001.png"))):
        monkeypatch.setattr(saved_model, "load", load)
        expected = list(predict.predict(sources, model))
        monkeypatch.setattr(saved_model, "load", None)
        assert list(predict.predict(sources, loaded)) == list(predict.predict(sources, model=loaded)) == expected


def test_a_model_s_folder_is_read_in_each_call(model, images, tmp_path, monkeypatch):
    monkeypatch.undo()  # of the cache of these tests
    for threshold in (0, 1.0, 0):
        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        saved_model.copy(model, tmp_path / "model", {"threshold": threshold})
        monkeypatch.chdir(tmp_path)
        [found] = predict.predict(images / "y/000.png", "model")
        assert found.predicted == CLASSES[threshold == 0]


def test_several_threads_share_a_model(model):
    loaded = predict.load(model)
    random = np.random.default_rng(0)
    sources = [random.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(8)]
    expected = [list(predict.predict(x, loaded)) for x in sources]
    together = threading.Barrier(8, timeout=60)

    def serve(source):
        together.wait()
        return [list(predict.predict(source, loaded)) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(serve, sources)) == [[x] * 10 for x in expected]


def generator(ready):
    yield from Camera(ready)


@pytest.mark.parametrize("source", [generator, Camera, lambda ready: itertools.chain(Camera(ready))])
def test_an_image_is_predicted_before_the_next_comes(source):
    answered = threading.Semaphore(1)
    predictions = predict.predict(source(lambda: answered.acquire(timeout=60) or pytest.fail()), fake())
    for level in range(5):
        assert levels([next(predictions)]) == [level]
        answered.release()
    predictions.close()
    answered.release()


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
def test_answers_come_in_the_order_of_an_iterator_s_images(count):
    assert levels(predict.predict((grey(level) for level in range(count)), fake())) == list(range(count))


def test_a_fast_iterator_fills_batches_and_is_read_a_few_batches_ahead():
    sizes, read = [], []
    predictions = predict.predict((grey(read.append(1) or 7) for _ in itertools.count()), fake(sizes))
    for _ in range(10 * inference.BATCH):
        next(predictions)
    assert max(sizes) == inference.BATCH and len(read) <= 320 + 2 * inference.BATCH
    predictions.close()


@pytest.mark.parametrize("kind", [list, tuple, "folder", "stack"])
def test_batches_of_what_is_there_do_not_depend_on_time(kind, tmp_path, monkeypatch):
    pixels, sizes, random = inference._pixels, [], np.random.default_rng(0)

    def slow(*arguments):
        time.sleep(0.1 * (random.random() < 0.1))  # twice as long as an image of an iterator waits
        return pixels(*arguments)

    monkeypatch.setattr(inference, "_pixels", slow)
    if kind == "folder":
        sources = make_images(tmp_path / "images", {"x": 40, "y": 30})
    elif kind == "stack":
        sources = np.stack([grey(level) for level in range(70)])
    else:
        sources = kind(grey(level) for level in range(70))
    assert len(list(predict.predict(sources, fake(sizes)))) == 70 and sizes == [32, 32, 6]


@pytest.mark.parametrize("taken", [1, 40, 200])
@pytest.mark.parametrize("held", [False, True])
def test_closing_stops_threads_and_closes_the_source(taken, held):
    closed, before = threading.Event(), set(threading.enumerate())

    def frames():
        try:
            for level in itertools.count():
                yield grey(level % 256)
        finally:
            closed.set()

    source = frames()
    predictions = predict.predict(source, fake())
    if not held:
        del source
    for _ in range(taken):
        next(predictions)
    predictions.close()
    assert closed.wait(60) and set(threading.enumerate()) <= before


def test_closing_does_not_wait_for_a_source_that_waits(monkeypatch):
    monkeypatch.setattr(inference, "MAX_CLOSE", 0.01)
    closed, go_on = threading.Event(), threading.Event()

    def frames():
        try:
            yield grey(1)
            go_on.wait(60)
            yield grey(2)
        finally:
            closed.set()

    for _ in predict.predict(frames(), fake()):
        break
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(60)


@pytest.mark.parametrize("count", [0, 1, 40, 150])
@pytest.mark.parametrize("error", [ValueError("camera"), OSError(5, "camera"), KeyboardInterrupt("camera")])
def test_an_exception_of_the_source_comes_where_the_answer_would_be(count, error):
    def frames():
        yield from map(grey, range(count))
        raise error

    predictions = predict.predict(frames(), fake())
    assert levels(next(predictions) for _ in range(count)) == list(range(count))
    with pytest.raises(type(error), match="camera"):
        next(predictions)
    with pytest.raises(StopIteration):
        next(predictions)


def test_what_is_no_image_comes_after_the_answers_before_it():
    predictions = predict.predict(iter([grey(1), grey(2), 3, grey(4)]), fake())
    assert levels([next(predictions), next(predictions)]) == [1, 2]
    with pytest.raises(TypeError, match="a int is no path"):
        next(predictions)


FORKS = """
import os, signal, sys
from stages.common.cli import UserError
from stages.tools.predict import load, predict

def answer(loaded=None, begun=None):
    signal.alarm(300)
    try:
        *_, x = begun or predict(sys.argv[2], loaded or load(sys.argv[1]))
        text = x.predicted
    except UserError as error:
        text = str(error)
    os.write(1, (text + "\\n").encode())
    os._exit(0)

if os.fork() == 0:
    answer()
os.wait()
loaded = load(sys.argv[1])
begun = predict((sys.argv[2] for _ in range(500)), loaded)
[next(begun) for _ in range(3)]
for model, source in ((loaded, None), (None, None), (None, begun)):
    if os.fork() == 0:
        answer(model, source)
    os.wait()
answer(loaded)
"""


def test_a_fork_answers_if_no_model_was_loaded_before_and_says_so_otherwise(model, images):
    command = [sys.executable, "-c", FORKS, model, images / "y/000.png"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    first, *refused, last = result.stdout.splitlines()
    assert first == last and first in CLASSES
    assert len(refused) == 3 and all("load the model in each worker after the fork" in line for line in refused)


def test_a_program_ends_while_a_source_waits(model):
    program = """
import sys, time
import numpy as np
from stages.tools.predict import predict
def frames():
    yield np.zeros((9, 9, 3), np.uint8)
    time.sleep(600)
predictions = predict(frames(), sys.argv[1])
print(next(predictions).predicted)
"""
    command = [sys.executable, "-c", program, model]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert result.stdout.strip() in CLASSES and result.returncode == 0, result.stderr
