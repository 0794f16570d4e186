"""Cross-validation: two folds of a small project, the second of which is killed in the middle."""

import collections
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import pytest

from stages.charts import predictions as prediction_charts
from stages.common import dataset, files
from stages.common.cli import UserError
from stages.tools import cross_validate, experiments
from tests.interruptions import Moment, forget, wait_for
from tests.support import STAGES, ran

COMMAND = ("python", "-m", "stages.tools.cross_validate", "--folds", "2", "train_frozen.epochs=1")
IMAGES = {"cat": 9, "dog": 13}
OUTPUTS = [
    *(f"plots/cross_validation{name}" for name in (".csv", "_labels.csv", "_slices.csv", ".png", "_mistakes.png")),
    "metrics/cross_validation.json",
]
NAMES = ["cv-fold-1", "cv-fold-2", "cv-fold-3"]


@pytest.fixture(scope="module")
def validated(small_run, tmp_path_factory):
    """A copy of `small_run` with fewer images, in which the tool was killed in the second fold and then ran to the end.

    Of what ran before it knows the weights alone. Tests change a copy.
    """
    folder = tmp_path_factory.mktemp("folds")
    project = small_run.copy(folder / "validated")
    for name, count in IMAGES.items():
        for path in sorted((project.folder / "data/mine" / name).iterdir())[count:]:
            path.unlink()
    forget(project, *STAGES)
    (project.folder / "data/alpaca/dvc.lock").unlink()
    project.run("dvc", "add", "data/mine")
    project.commit()
    project.output = run_until_the_second_fold_fine_tunes(project, folder / "held")
    assert project.run("dvc", "exp", "list", "--name-only").split() == NAMES[:1]
    project.resumed = project.run(*COMMAND)
    return project


def run_until_the_second_fold_fine_tunes(project, marker):
    """Kills the tool and all that it has started, once the second fold has trained; returns what it printed."""
    moment, log = Moment("finetune", "os.rename", "data/models/finetuned"), project.folder.parent / "killed.log"
    with log.open("w") as file:
        process = subprocess.Popen(COMMAND, cwd=project.folder, env=moment.environment(marker), stdout=file)
    wait_for(marker, process)
    marker.unlink()  # the first fold goes on
    wait_for(marker, process)
    started = psutil.Process(process.pid).children(recursive=True)
    for child in [*started, process]:
        os.kill(child.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(started)
    return log.read_text()


@pytest.mark.slow
class TestFolds:
    def test_every_image_is_predicted_once(self, validated):
        table = files.read_csv(validated.folder / "plots/cross_validation.csv")
        images = [path.relative_to(validated.folder / "data/mine") for path in validated.folder.glob("data/mine/*/*")]
        assert sorted(table["path"]) == sorted(map(str, images))
        assert sorted(table["fold"].value_counts()) == [11, 11] and set(table["fold"]) == {1, 2}
        assert np.allclose(table[["probability_cat", "probability_dog"]].sum(axis=1), 1, atol=1e-5)

    def test_the_metrics_are_of_all_images(self, validated):
        table = files.read_csv(validated.folder / "plots/cross_validation.csv")
        found = files.read_json(validated.folder / "metrics/cross_validation.json")
        assert (found["folds"], found["images"]) == (2, 22)
        assert found["metrics"]["accuracy"] == pytest.approx((table["predicted"] == table["actual"]).mean(), rel=1e-5)
        low, high = found["intervals"]["accuracy"]
        assert low <= found["metrics"]["accuracy"] <= high
        assert found["classes"]["classes"]["dog"]["support"] == 13
        assert "temperature" not in found["metrics"] and "threshold" not in found["metrics"]

    def test_stages_that_folds_share_run_once(self, validated):
        counts = collections.Counter(ran(validated.output))
        of_first_fold = dict.fromkeys(("evaluate", "plot"), 1)
        of_folds = dict.fromkeys(("split", "train_frozen", "finetune"), 2)
        assert counts == of_folds | of_first_fold | {"data/alpaca/dvc.yaml:alpaca": 1}

    def test_the_workspace_stays_as_it_is(self, validated):
        assert validated.run("git", "status", "--porcelain") == ""

    def test_a_killed_run_resumes_at_the_stage_that_was_killed(self, validated):
        assert ran(validated.resumed) == ["finetune", "evaluate", "plot"]  # of fold 2; the stages before had ended

    def test_a_fold_that_was_killed_ends_in_the_bytes_of_one_that_was_not(self, validated, tmp_path):
        project = validated.copy(tmp_path / "undisturbed")
        [ref] = project.run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{NAMES[1]}").split()
        project.run("git", "checkout", ref, "--", ".")
        project.run("dvc", "checkout", "split", "train_frozen", "finetune")
        models = project.folder / "data/models"
        killed = contents(models / "finetuned")
        shutil.rmtree(models / "finetuned")
        project.stage("finetune")
        assert contents(models / "finetuned") == killed and len(killed) > 1

    def test_the_same_folds_end_in_the_same_bytes(self, validated, monkeypatch):
        monkeypatch.chdir(validated.folder)
        written = {path: Path(path).read_bytes() for path in OUTPUTS}
        for path in OUTPUTS:
            os.remove(path)
        cross_validate.summarise(NAMES[:2])
        assert {path: Path(path).read_bytes() for path in OUTPUTS} == written


def contents(folder):
    """{path: bytes} of the files of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folds(monkeypatch):
    """Three made-up folds, of four images each and two classes; what experiments say of them can be changed."""
    parameters = {
        name: {"data.fold": f"{n}/3", "seed": 1, "data.images": "mine", "data.labels": "t.csv"}
        for n, name in enumerate(NAMES, 1)
    }
    hashes = {name: {"split": {"mine": "1a2b", "t.csv": "5e6f"}} for name in NAMES}
    thresholds, temperatures = dict.fromkeys(NAMES, 0.5), dict.fromkeys(NAMES, 1.0)
    probabilities = np.array([0.1, 0.4, 0.6, 0.9], np.float32)

    def predictions(name):
        paths = [f"{name}/{number}" for number in range(4)]
        of_all = {"group": range(4), "actual": ["a", "b", "a", "b"], "frozen": "a"}
        predicted = np.where(probabilities >= thresholds[name], "b", "a")
        return pd.DataFrame({"path": paths, **of_all, "predicted": predicted, "probability": 0.9, "margin": 0.8})

    monkeypatch.setattr(experiments, "parameters", parameters.get)
    monkeypatch.setattr(experiments, "hashes", hashes.get)
    monkeypatch.setattr(experiments, "predictions", predictions)
    monkeypatch.setattr(experiments, "scores", lambda name: {"finetuned temperature": temperatures[name]})
    monkeypatch.setattr(experiments, "array", lambda path, name: np.stack([1 - probabilities, probabilities], axis=1))
    return {
        "parameters": parameters,
        "hashes": hashes,
        "thresholds": thresholds,
        "temperatures": temperatures,
    }


def test_each_fold_is_measured_with_its_own_threshold(folds):
    accuracy = []
    for threshold in (0.5, 0.3, 0.95):  # of these images 2, 3 and 2 are right
        folds["thresholds"]["cv-fold-2"] = threshold
        evaluation = cross_validate.evaluate(*cross_validate.gather(NAMES), ["a", "b"])
        accuracy.append(evaluation.scores["accuracy"])
    assert accuracy == pytest.approx([6 / 12, 7 / 12, 6 / 12])


def test_each_fold_is_calibrated_with_its_own_temperature(folds):
    folds["temperatures"]["cv-fold-2"] = 2.0
    _, probabilities, calibrated = cross_validate.gather(NAMES)
    for rows, temperature in ((slice(0, 4), 1), (slice(4, 8), 2), (slice(8, 12), 1)):
        odds, scaled = (np.log(x[rows, 1] / x[rows, 0]) for x in (probabilities, calibrated))
        assert scaled == pytest.approx(odds / temperature, abs=1e-5)


def test_folds_that_differ_in_a_parameter_or_in_their_images_are_refused(folds):
    cross_validate.check_alike(NAMES)
    for path in ("mine", "t.csv"):
        own = folds["hashes"]["cv-fold-1"]["split"] | {path: "3c4d"}
        folds["hashes"]["cv-fold-3"] = {"split": own}
        words = f"cv-fold-3 differs from cv-fold-1 in the content of {path}: take another --name"
        with pytest.raises(UserError, match=words):
            cross_validate.check_alike(NAMES)
    folds["parameters"]["cv-fold-2"]["seed"] = 2
    with pytest.raises(UserError, match="cv-fold-2 differs from cv-fold-1 in seed: .* `dvc exp remove cv-fold-1 cv-"):
        cross_validate.check_alike(NAMES)


def test_labels_slices_and_mistakes_are_of_all_images(workplace, monkeypatch, capsys):
    """Three folds of 20 images of classes a and b; in each, both darkest a are predicted as b."""
    classes, count = np.array(["a", "b"]), 20
    labels = np.arange(count) % 2
    brightness = np.random.default_rng(0).permutation(3 * count).reshape(3, count)

    def wrong(name):
        a = np.flatnonzero(labels == 0)
        return a[brightness[NAMES.index(name)][a].argsort()[:2]]

    def probabilities(path, name):
        of_label = np.full(count, 0.9, np.float32)
        of_label[wrong(name)] = [0.02, 0.01]
        return np.where(labels[:, np.newaxis] == [0, 1], of_label[:, np.newaxis], 1 - of_label[:, np.newaxis])

    def predictions(name):
        table = test_split(name).manifest[["path", "group", "class"]].rename(columns={"class": "actual"})
        found = probabilities("", name)
        return table.assign(predicted=classes[found.argmax(axis=1)], probability=found.max(axis=1), frozen="a")

    def test_split(name):
        pixels = np.repeat(brightness[NAMES.index(name)], 32 * 32 * 3).reshape(count, 32, 32, 3).astype(np.uint8)
        manifest = pd.DataFrame({"path": [f"{name}/{row}" for row in range(count)], "class": classes[labels]})
        manifest = manifest.assign(
            label=labels, width=32, height=32, group=NAMES.index(name) * count + np.arange(count)
        )
        return dataset.Split(pixels, manifest, list(classes))

    monkeypatch.setattr(experiments, "predictions", predictions)
    monkeypatch.setattr(experiments, "array", probabilities)
    monkeypatch.setattr(experiments, "scores", lambda name: {"finetuned temperature": 1.0})
    monkeypatch.setattr(experiments, "counts", lambda name, split: dict.fromkeys(classes, 30))
    monkeypatch.setattr(experiments, "test_split", lambda name: contextlib.nullcontext(test_split(name)))
    drawn = mock.Mock(wraps=prediction_charts.by_class)
    monkeypatch.setattr(prediction_charts, "by_class", drawn)
    cross_validate.summarise(NAMES)

    listed = files.read_csv("plots/cross_validation_labels.csv")
    expected = {f"{name}/{row}": f"fold {fold}" for fold, name in enumerate(NAMES, 1) for row in wrong(name)}
    assert dict(zip(listed["path"], listed["split"], strict=True)) == expected
    assert listed["quality"].is_monotonic_increasing and set(listed["suggested"]) == {"b"}
    assert files.read_json("metrics/cross_validation.json")["label_error_rate"] == pytest.approx(0.1, abs=0.02)
    by_slice = files.read_csv("plots/cross_validation_slices.csv")
    assert by_slice.loc[by_slice["flagged"], ["attribute", "value", "support"]].values.tolist() == [
        ["image brightness", "dark", 20]
    ]
    pixels, _, rows, table, _ = drawn.call_args.args
    assert set(table["path"].iloc[rows]) == set(expected)
    assert pixels[:, 0, 0, 0].tolist() == [brightness.ravel()[row] for row in rows]
    said = " ".join(capsys.readouterr().out.split())
    assert "6 labels of 60 are doubtful; " in said and "come first in plots/cross_validation_labels.csv." in said


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ([], "`dvc repro`"),
        (["finetune.epochs=5"], "`dvc exp run -S finetune.epochs=5`"),
        (["data.classes=[cat,dog]"], "`dvc exp run -S 'data.classes=[cat,dog]'`"),
        (["data.split=random", "finetune.epochs=5"], "`dvc exp run -S data.split=random -S finetune.epochs=5`"),
    ],
)
def test_the_end_says_how_to_train_a_model_on_these_settings(changes, command):
    assert command in cross_validate.conclusion(changes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--folds", "1"], "--folds is 1, but must be at least 2"),
        (["finetune.epochs"], "finetune.epochs must be KEY=VALUE"),
        (["finetune.epoch=5"], "finetune.epoch is not a parameter; did you mean finetune.epochs?"),
        (["finetune.epochs=0"], "finetune.epochs is 0, but must be a whole number"),
        (["data.fold=1/5"], "data.fold is set 2 times"),
    ],
)
def test_faulty_arguments_are_refused_before_anything_runs(workplace, monkeypatch, arguments, words):
    monkeypatch.setattr("sys.argv", ["cross_validate", *arguments])
    with pytest.raises(UserError, match=words):
        cross_validate.main()
