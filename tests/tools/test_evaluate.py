import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from stages import split
from stages.common import files
from stages.model import network, saved_model
from stages.tools import evaluate
from tests.support import make_images, run_command

CLASSES = ["cat", "dog", "elk"]
load = functools.cache(saved_model.load)


@pytest.fixture(scope="module")
def models(weights, tmp_path_factory):
    """A folder of models of 32 pixels, by their number of classes."""
    folder = tmp_path_factory.mktemp("models")
    for count in (2, 3):
        made = network.build(32, count)
        network.load_base(made, weights)
        saved_model.save(made, CLASSES[:count], 2, folder / str(count))
    return folder


@pytest.fixture
def measure(models, workplace, monkeypatch, capsys):
    """A function that measures the model of so many classes, and returns what is printed and the error."""
    monkeypatch.setattr(saved_model, "load", load)
    monkeypatch.setattr("os._exit", sys.exit)
    monkeypatch.setattr(sys, "argv", sys.argv)

    def measure(*arguments, classes=2, status=0):
        model = [] if "--model" in arguments else ["--model", models / str(classes)]
        output, errors = run_command(evaluate.main, "evaluate", [*arguments, *model], capsys, status)
        assert not list(Path().glob(".*.tmp"))
        return " ".join(output.split()), errors.splitlines()[-1] if status else ""

    return measure


@pytest.fixture
def divided(workplace, capsys):
    """The images of a run, divided into splits."""
    make_images(Path("mine"), {"cat": 20, "dog": 20}, size=64)
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    capsys.readouterr()
    return {name: list(pd.read_csv(f"data/splits/{name}/manifest.csv")["path"]) for name in ("train", "test")}


def test_measures_a_folder_and_writes_metrics_and_predictions(measure):
    make_images(Path("later"), {"cat": 12, "dog": 8}, seed=1)
    said, _ = measure("later", "--output", "out/may")
    assert said.startswith("20 images of later metric, with its 95% interval here accuracy")
    assert "data/splits is not here, so whether the model was trained on any of these images is not checked." in said
    assert "those of 'dog', the second class" in said and "Actual class (rows) and predicted class (columns)" in said
    table, metrics = files.read_csv("out/may/predictions.csv"), files.read_json("out/may/metrics.json")
    assert list(table) == ["path", "group", "actual", "predicted", "probability", "margin"] and len(table) == 20
    right = (table["actual"] == table["predicted"]).mean()
    assert metrics["accuracy"] == pytest.approx(right) and f"accuracy {right:.4f} [" in said
    low, high = metrics["intervals"]["accuracy"]
    assert low < right < high and {x["support"] for x in metrics["classes"].values()} == {12, 8}
    mistakes = table[table["actual"] != table["predicted"]].sort_values("probability", ascending=False)
    assert f"The most confident mistakes, of {len(mistakes)}" in said and mistakes["path"].iloc[0] in said
    assert sorted(path.name for path in Path("out/may").iterdir()) == ["metrics.json", "predictions.csv"]


def test_other_files_in_the_output_folder_stay(measure):
    make_images(Path("later"), {"cat": 3, "dog": 3})
    make_images(Path("out"), {"kept": 1})
    measure("later", "--output", "out")
    assert Path("out/kept/000.png").exists() and Path("out/metrics.json").exists()


@pytest.mark.parametrize("source", ["folders", "table", "names"])
def test_labels_come_from_all_sources(source, measure, workplace):
    make_images(Path("later"), {"cat": 6, "dog": 4})
    arguments = []
    if source != "folders":
        for path in list(Path("later").rglob("*.png")):
            path.rename(f"later/{path.parent.name}_{path.name}")
        shutil.rmtree("later/cat"), shutil.rmtree("later/dog")
    if source == "names":
        workplace.set({"data.label_pattern": r"^(.+)_\d+"})
    if source == "table":
        paths = sorted(path.name for path in Path("later").iterdir())
        rows = [{"path": path, "kind": path[:3], "group": path[:5], "split": "train"} for path in paths]
        pd.DataFrame(rows).to_csv("later.csv", index=False)
        workplace.set({"data.columns.label": "kind"})
        arguments = ["--labels", "later.csv"]
    said, _ = measure("later", *arguments, "--output", "out")
    assert pd.read_csv("out/predictions.csv")["actual"].tolist() == ["cat"] * 6 + ["dog"] * 4
    assert ("in 2 groups, which count once in intervals" in said) == (source == "table")


def test_near_duplicates_in_the_folder_count_once(measure):
    make_images(Path("later"), {"cat": 3, "dog": 3}, size=64)
    for number in range(3):
        shutil.copy("later/cat/000.png", f"later/cat/copy{number}.png")
    assert measure("later")[0].startswith("9 images of later, in 6 groups, which count once in intervals")


@pytest.mark.parametrize("kind", ["file", "pixels", "near-duplicate"])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_images_that_the_model_knows_are_refused(kind, part, divided, measure):
    make_images(Path("later"), {"cat": 6, "dog": 4}, size=64, seed=5)
    path = pd.read_csv(f"data/splits/{part}/manifest.csv")["path"].iloc[0]
    target, image = Path("later/dog/again.png"), Image.open(f"mine/{path}")
    if kind == "file":
        shutil.copy(f"mine/{path}", target)
    elif kind == "pixels":
        image.save(target, compress_level=1)
    else:
        ImageEnhance.Brightness(image).enhance(1.03).save(target)
    _, error = measure("later", "--output", "out", status=1)
    assert error.startswith("ERROR: 1 of 11 images are in train or validation, or near-duplicates of images there")
    assert error.endswith(f": dog/again.png ({part}: {path})") and not Path("out").exists()


def test_images_of_the_test_split_are_counted(divided, measure):
    make_images(Path("later"), {"cat": 2, "dog": 2}, size=64, seed=5)
    for number, path in enumerate(divided["test"][:3]):
        shutil.copy(f"mine/{path}", f"later/{path.partition('/')[0]}/test{number}.png")
    assert "3 of the images are in the test split, or near-duplicates of images there." in measure("later")[0]


def test_a_run_with_other_images_is_no_hindrance(divided, measure):
    make_images(Path("later"), {"cat": 4, "dog": 4}, size=64, seed=5)
    said, _ = measure("later")
    assert "test split" not in said and "not here" not in said


@pytest.mark.parametrize("names", [["cow"], ["cow", "Cat"], ["no cat"]])
def test_classes_that_the_model_does_not_know_are_named(names, measure):
    make_images(Path("later"), dict.fromkeys(["cat", *names], 2))
    _, error = measure("later", status=1)
    listed = ", ".join(map(repr, sorted(names)))
    assert error.startswith(f"ERROR: later has classes that the model does not know, {listed}: rename them")
    assert error.endswith("The model's classes are 'cat', 'dog'.")


@pytest.mark.parametrize(
    ("present", "classes", "defined"),
    [
        (["cat"], 2, {"accuracy", "loss"}),
        (["dog"], 2, {"accuracy", "loss"}),
        (["elk"], 3, {"accuracy", "loss"}),
        (["cat", "elk"], 3, {"accuracy", "loss", "auc", "precision", "recall", "f1"}),
    ],
)
def test_only_metrics_that_are_defined_are_shown(present, classes, defined, measure):
    make_images(Path("later"), dict.fromkeys(present, 5))
    said, _ = measure("later", "--output", "out", classes=classes)
    missing = [name for name in CLASSES[:classes] if name not in present]
    assert f"No image here is of {', '.join(map(repr, missing))}: metrics that need these classes" in said
    metrics = json.loads(Path("out/metrics.json").read_text())
    others = {"ece", "calibrated_loss", "calibrated_ece", "classes", "intervals"}
    sets = {"set_coverage", "set_size"} if classes > 2 else set()
    assert metrics.keys() - others == defined | sets and metrics["classes"].keys() == {*present}
    table = pd.read_csv("out/predictions.csv")
    for name in present:
        recall = (table["predicted"][table["actual"] == name] == name).mean()
        values, bounds = metrics["classes"][name], metrics["intervals"]["classes"][name]
        assert values["recall"] == pytest.approx(recall) and bounds["recall"][0] <= recall <= bounds["recall"][1]
        assert ("precision" in values) == (len(present) > 1) == ("auc" in bounds)
    assert not np.isnan([x for x in metrics.values() if isinstance(x, float)]).any()


def test_unreadable_images_are_named_or_skipped_as_in_split(measure, workplace):
    make_images(Path("later"), {"cat": 3, "dog": 3})
    Path("later/dog/001.png").write_text("none")
    _, error = measure("later", status=1)
    assert "1 of 6 images cannot be read" in error and "later/dog/001.png (not an image" in error
    workplace.set({"data.on_unreadable": "skip"})
    said, _ = measure("later", "--output", "out")
    assert said.startswith("5 images of later") and "Left out: dog/001.png (not an image in a known format" in said
    assert pd.read_csv("out/predictions.csv")["path"].tolist() == [
        *(f"cat/00{number}.png" for number in range(3)),
        "dog/000.png",
        "dog/002.png",
    ]


@pytest.mark.parametrize(("name", "error"), [("none", "none is not a folder"), ("empty", "has no labelled images")])
def test_a_folder_without_images_is_refused(name, error, measure):
    Path("empty").mkdir()
    assert error in measure(name, status=1)[1]


def test_shows_the_metrics_of_the_test_split_beside_them(measure, models):
    make_images(Path("later"), {"cat": 30, "dog": 2})
    shutil.copytree(models / "2", evaluate.MODEL)
    paths = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(50)]
    table = pd.DataFrame({"path": paths, "group": range(100), "actual": [path[:3] for path in paths]})
    Path("plots").mkdir(), Path("data/evaluation").mkdir()
    files.write_csv(table.assign(predicted=table["actual"]), Path("plots/predictions.csv"))
    of_classes = {"classes": {name: {"recall": 1.0} for name in CLASSES[:2]}}
    for name, values in {
        "metrics": {"accuracy": 1.0},
        "classes": of_classes,
        "intervals": {"accuracy": [0.9, 1]},
    }.items():
        files.write_json({"finetuned": values}, Path(f"data/evaluation/{name}.json"))
    said, _ = measure("later", "--model", evaluate.MODEL)
    assert "here test split accuracy" in said and "1.0000 [0.9000, 1.0000]" in said
    assert "points lower than on the test split" in said or "the same as on the test split" in said
    assert "other frequencies here" in said
