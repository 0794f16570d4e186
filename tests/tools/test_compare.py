import contextlib
import dataclasses
import hashlib
import io
import json
import math
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.exceptions import FileMissingError, PathMissingError
from dvc.scm import RevError
from dvc_data.index.index import DataIndexDirError

from stages.common import terminal
from stages.common.cli import UserError
from stages.tools import compare, evaluated_run, experiments
from stages.tools.evaluated_run import EvaluatedRun
from tests.support import Project, run_command

NAMES = ["x-seed-1", "x-seed-2", "x-seed-10", "y-seed-10", "y-seed-2", "y-seed-3", "z", "xy-seed-1"]


def test_repeats_are_paired_by_seed():
    assert compare.pair("x", "y", NAMES) == [("x-seed-2", "y-seed-2"), ("x-seed-10", "y-seed-10")]


def test_single_experiments_and_revisions_are_paired_as_they_are():
    assert compare.pair("z", "main", NAMES) == [("z", "main")]


@pytest.mark.parametrize(("a", "b", "words"), [("x", "z", "like with like"), ("xy", "y", "no seed in common")])
def test_what_cannot_be_paired_is_refused(a, b, words):
    with pytest.raises(UserError, match=words):
        compare.pair(a, b, NAMES)


def run(paths, actual, predicted, **changes):
    """A run of two or more classes, by default without copies of images; probabilities are 0.8 for what it predicts."""
    classes = changes.get("classes", ["cat", "dog"])
    images = pd.DataFrame({"path": paths, "sha256": [f"of {path}" for path in paths], "group": range(len(paths))})
    images = images.assign(actual=actual, predicted=predicted, **changes.get("columns", {}))
    probabilities = np.full((len(paths), len(classes)), 0.2 / (len(classes) - 1))
    probabilities[range(len(paths)), [classes.index(name) for name in images["predicted"]]] = changes.get("sure", 0.8)
    return EvaluatedRun(
        changes.get("revision", "x"),
        images,
        classes,
        changes.get("probabilities", probabilities),
        changes.get("corrections"),
    )


def corrections(*rows):
    return pd.DataFrame([row.split(",") for row in rows], columns=["sha256", "split", "decision", "given", "label"])


def said(a, b, names=("old", "new")):
    """What is printed of two runs, as one line without repeated blanks."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        terminal.show(*compare.describe([(a, b)], *names))
    return " ".join(out.getvalue().split())


MANY = [f"{number}.png" for number in range(20)]


def test_the_labels_are_those_of_the_second_run():
    a = run(["p", "q", "r"], ["cat", "cat", "dog"], ["cat", "dog", "dog"])
    b = run(["r", "p", "q"], ["dog", "cat", "dog"], ["dog", "dog", "dog"])
    table = evaluated_run.pair(a, b)
    assert table[["path", "a", "b", "own", "corrected"]].values.tolist() == [
        ["r", True, True, True, False],
        ["p", True, False, True, False],
        ["q", True, True, False, True],
    ]
    assert table["loss_a"].tolist() == pytest.approx([-math.log(0.8)] * 3)
    assert table["loss_b"].tolist() == pytest.approx([-math.log(x) for x in (0.8, 0.2, 0.8)])


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["p", "q", "s"], ["Compared on 2 test images", "1 image that only old was", "1 image that only new was"]),
        (["p"], ["Compared on 1 test image,", "2 images that only old was tested on are left out"]),
        (["p", "q", "r", "s"], ["Compared on 3 test images", "1 image that only new was tested on is left out"]),
    ],
)
def test_images_of_one_run_alone_are_counted_and_left_out(paths, words):
    text = said(run(["p", "q", "r"], "cat", "cat"), run(paths, "cat", ["dog"] + ["cat"] * (len(paths) - 1)))
    assert [x for x in words if x not in text] == []


def test_runs_without_a_common_image_end_in_one_line():
    with pytest.raises(UserError, match="^old and new have no test image in common"):
        said(run(["p"], "cat", "cat", revision="old"), run(["q"], "cat", "cat", revision="new"))


def test_a_class_that_the_first_model_does_not_know_counts_as_wrong_and_is_left_out_of_the_loss():
    three = ["cat", "dog", "newt"]
    a = run(["p", "q", "r"], ["cat", "dog", "dog"], ["cat", "dog", "dog"])
    b = run(["p", "q", "r"], ["cat", "dog", "newt"], ["cat", "dog", "newt"], classes=three)
    table = evaluated_run.pair(a, b)
    assert table["a"].tolist() == [True, True, False] and table["known"].tolist() == [True, True, False]
    assert compare.loss_change(table).before == pytest.approx(-math.log(0.8))
    assert "old does not know newt: 1 image of that counts as wrong, and is left out of the loss." in said(a, b)


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_without_probabilities_accuracy_alone_is_compared_and_that_is_said(lacking):
    runs = {name: run(MANY, "cat", "cat", revision=name) for name in "ab"}
    runs[lacking] = dataclasses.replace(runs[lacking], probabilities=None)
    text = said(runs["a"], runs["b"])
    assert f"lacks data/evaluation/probabilities.npy of {lacking}: losses are not compared." in text
    assert "its loss" not in text and "nan" not in text


@pytest.mark.parametrize(
    ("predicted", "sure", "words"),
    [
        ("cat", 0.4, "new is worse: its loss is higher by more than noise (0.2231 -> 0.9163), and its accuracy is the"),
        ("cat", 0.9, "new is better: its loss is lower by more than noise (0.2231 -> 0.1054), and its accuracy is the"),
        (
            "cat",
            0.8,
            "new is neither better nor worse beyond noise: its accuracy is the same, and its loss is the",
        ),
        ("dog", 0.8, "new is worse: its accuracy is lower by more than noise, and its loss is higher by more than"),
        (["dog"] * 2 + ["cat"] * 18, 0.8, "nor worse beyond noise: its accuracy is the same within noise"),
    ],
)
def test_says_whether_the_second_is_better_by_accuracy_and_by_loss(predicted, sure, words):
    assert words in said(run(MANY, "cat", "cat"), run(MANY, "cat", predicted, sure=sure))


def test_more_right_with_a_higher_loss_is_not_called_better():
    a = run(MANY, "cat", ["dog"] * 10 + ["cat"] * 10, sure=0.501)
    text = said(a, run(MANY, "cat", ["dog"] * 2 + ["cat"] * 18, probabilities=np.full((20, 2), [0.1, 0.9])))
    assert "Neither is better in both: its accuracy is higher by more than noise, and its loss is higher by" in text


CORRECTED = ["dog"] * 4 + ["cat"] * 16


def test_the_corrections_in_test_are_counted_with_a_warning_and_the_accuracy_without_them():
    rows = [f"of {number}.png,test,label,cat,dog" for number in range(4)]
    rows += ["of 5.png,test,label,cat,cat", "of 6.png,test,unsure,cat,", "other,train,label,dog,cat", "gone,,drop,cat,"]
    a = run([*MANY, "gone"], "cat", [*CORRECTED, "cat"], columns={"sha256": [f"of {x}" for x in MANY] + ["gone"]})
    b = run(MANY, CORRECTED, CORRECTED, corrections=corrections(*rows))
    text = said(a, b)
    assert "Of 7 corrections, 4 changed a test label, 1 confirmed one, 1 dropped a test image." in text
    assert "WARNING: Test labels that were corrected because a model doubted them flatter both models" in text
    assert "accuracy on the 16 whose label was not corrected 1.0000 1.0000 +0.0000" in text
    assert (
        "By its own labels of these images, old has accuracy 0.8000, by the corrected ones 1.0000: of the change that "
        "metrics show, +0.2000 comes from the corrected test labels alone."
    ) in text


def test_labels_that_the_first_run_had_corrected_already_are_corrected_ones():
    rows = [f"of {number}.png,test,label,cat,dog" for number in range(4)] + ["of 5.png,test,label,cat,cat"]
    table = evaluated_run.pair(*(run(MANY, CORRECTED, "cat", corrections=corrections(*rows)) for _ in "ab"))
    assert table["corrected"].tolist() == [True] * 4 + [False] * 16


@pytest.mark.parametrize("found", [None, corrections("x,train,label,cat,dog"), corrections("y,,drop,cat,")])
def test_without_a_correction_in_test_there_is_no_warning(found):
    text = said(run(MANY, "cat", "cat"), run(MANY, "cat", CORRECTED, corrections=found))
    assert "WARNING" not in text and "not corrected" not in text and "By its own labels" not in text
    assert ("Of 1 correction, none was in test." in text) == (found is not None)


def test_labels_that_were_changed_by_hand_are_corrected_ones_too():
    text = said(run(MANY, "cat", "cat"), run(MANY, CORRECTED, CORRECTED))
    assert "WARNING" in text and "accuracy on the 16 whose label was not corrected" in text


def test_repeats_are_pooled_and_have_the_spread_of_their_changes():
    runs = []
    for seed, wrong in ((1, 2), (2, 4), (3, 6)):
        predicted = ["dog"] * wrong + ["cat"] * (20 - wrong)
        runs.append((run(MANY, "cat", "cat"), run(MANY, "cat", predicted, revision=f"new-seed-{seed}")))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        terminal.show(*compare.describe(runs, "old", "new"))
    text = " ".join(out.getvalue().split())
    assert "Compared on 20 test images" in text and "Of 60 predictions for 20 images, new alone is right on 0" in text
    assert "seed change of accuracy change of loss 1 -0.1000 +0.1386 2 -0.2000 +0.2773 3 -0.3000" in text
    assert "Over 3 seeds: accuracy -0.2000 on average, from -0.3000 to -0.1000, standard deviation 0.1000; loss" in text


@pytest.mark.parametrize("name", ["HEAD", "workspace", "mine"])
def test_a_revision_is_not_compared_with_itself(name, capsys, monkeypatch):
    monkeypatch.setattr("os._exit", sys.exit)
    _, error = run_command(compare.main, "compare", [name, name], capsys, status=1)
    assert error == f"ERROR: {name} is both A and B: name two different ones.\n"


@pytest.mark.parametrize("value", [0.0, -0.00001, 1e-9])
def test_no_number_is_minus_zero(value):
    assert compare.signed(value) == "+0.0000"


def keep(path, data, cached=True):
    """Writes an output of a run, and puts it into DVC's cache; returns its entry in dvc.lock."""
    path, md5 = Path(path), hashlib.md5(data).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if cached:
        place = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return {"path": str(path), "hash": "md5", "md5": md5, "size": len(data)}


def write_outputs(tested):
    """Writes the outputs of a run that compare reads, and dvc.yaml and dvc.lock."""
    manifest = tested.images.rename(columns={"actual": "class"})[["path", "class", "sha256"]]
    predictions = tested.images[["path", "group", "actual", "predicted"]].assign(frozen="cat")
    array = io.BytesIO()
    np.save(array, tested.probabilities)
    outputs = {
        "split": {
            "data/splits/test/manifest.csv": manifest.to_csv(index=False).encode(),
            "data/splits/classes.json": json.dumps(tested.classes).encode(),
        },
        "evaluate": {
            "plots/predictions.csv": predictions.to_csv(index=False).encode(),
            "data/evaluation/probabilities.npy": array.getvalue(),
        },
    }
    if tested.corrections is not None:
        outputs["split"]["data/splits/corrections.csv"] = tested.corrections.to_csv(index=False).encode()
    lock = {
        name: {"cmd": name, "outs": [keep(path, data) for path, data in written.items()]}
        for name, written in outputs.items()
    }
    stages = {name: {"cmd": name, "outs": list(written)} for name, written in outputs.items()}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose commit is a run of MANY images, of which four have wrong labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os._exit", sys.exit)  # how a tool ends where another test has imported TensorFlow
    project = Project(tmp_path)
    project.run("git", "init", "-q")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("")
    Path(".gitignore").write_text("/data\n/plots\n/.dvc/cache\n/.dvc/tmp\n")
    write_outputs(run(MANY, "cat", CORRECTED))
    project.commit()
    return project


def test_without_arguments_the_workspace_is_compared_with_the_last_commit(repository, capsys):
    rows = [f"of {number}.png,test,label,cat,dog" for number in range(4)]
    write_outputs(run(MANY, CORRECTED, CORRECTED, corrections=corrections(*rows)))
    shown = " ".join(run_command(compare.main, "compare", [], capsys)[0].split())
    assert "Compared on 20 test images, with the labels of workspace." in shown
    assert "HEAD workspace change, with its 95% interval accuracy 1.0000 1.0000 +0.0000" in shown
    assert "Of 4 corrections, 4 changed a test label." in shown and "HEAD has accuracy 0.8000" in shown


@pytest.mark.parametrize("arguments", [[], ["HEAD"], ["HEAD", "workspace"]])
def test_a_workspace_as_committed_is_nothing_to_compare(repository, arguments, capsys, monkeypatch):
    monkeypatch.setattr(experiments, "names", list)
    _, error = run_command(compare.main, "compare", arguments, capsys, status=1)
    assert "HEAD and workspace have the same test images, labels and predictions: there is nothing to" in error


def test_a_split_whose_model_is_still_to_be_evaluated_ends_in_one_line(repository, capsys):
    manifest = Path("data/splits/test/manifest.csv")
    manifest.write_text(manifest.read_text().replace(",cat,", ",dog,"))
    _, error = run_command(compare.main, "compare", [], capsys, status=1)
    assert "data/evaluation of workspace is not of its data/splits/test: run `dvc repro`" in error


def test_probabilities_that_the_cache_lacks_leave_the_accuracy(repository, capsys):
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    md5 = next(x["md5"] for x in lock["stages"]["evaluate"]["outs"] if x["path"].endswith(".npy"))
    write_outputs(run(MANY, "cat", "cat"))
    Path(".dvc/cache/files/md5", md5[:2], md5[2:]).unlink()
    shown = " ".join(run_command(compare.main, "compare", [], capsys)[0].split())
    assert "lacks data/evaluation/probabilities.npy of HEAD: losses are not compared." in shown
    assert "accuracy 0.8000 1.0000 +0.2000" in shown


def test_only_finished_experiments_have_names(monkeypatch):
    states = {"b": None, "a": "Success", "c": "Queued", "d": "Running", "e": "Failed", None: None}
    rows = [{"Experiment": name, "State": state} for name, state in states.items()]
    monkeypatch.setattr("dvc.api.exp_show", lambda: rows)
    assert experiments.names() == ["a", "b"]


def test_the_scores_of_an_experiment_are_those_of_its_models(monkeypatch):
    tree = {
        "frozen": {"accuracy": 0.8},
        "finetuned": {"accuracy": 0.9, "top5_accuracy": 1.0},
        "changed": {"gained": 3, "p_value": 0.2},
    }
    monkeypatch.setattr(experiments, "_content", lambda path, revision: json.dumps(tree).encode())
    assert experiments.scores("any").to_dict() == {
        "frozen accuracy": 0.8,
        "finetuned accuracy": 0.9,
        "finetuned top5_accuracy": 1.0,
    }


def test_parameters_are_named_as_in_params_yaml(monkeypatch):
    monkeypatch.setattr("dvc.api.params_show", lambda path, rev: {"seed": 1, "train": {"dropout": 0.2}})
    assert experiments.parameters("any") == {"seed": 1, "train.dropout": 0.2}


@pytest.mark.parametrize(
    "read", [experiments.parameters, experiments.scores, experiments.hashes, experiments.predictions]
)
def test_an_unknown_revision_is_one_line(monkeypatch, read):
    def fail(*_, **__):
        raise RevError("unknown Git revision 'nothing'")

    for function in ("params_show", "metrics_show", "read"):
        monkeypatch.setattr(f"dvc.api.{function}", fail)
    with pytest.raises(UserError, match="of nothing: unknown Git revision 'nothing'. `dvc exp show` lists"):
        read("nothing")


@pytest.mark.parametrize(
    "error", [DataIndexDirError("failed to load"), FileMissingError("x"), PathMissingError("x", "y")]
)
def test_an_output_that_the_cache_lacks_is_one_line(monkeypatch, error):
    monkeypatch.setattr("dvc.api.read", mock.Mock(side_effect=error))
    for read in (experiments.scores, experiments.predictions, experiments.test_manifest):
        with pytest.raises(UserError, match="of HEAD is neither in git nor in DVC's cache. Name one that was run here"):
            read("HEAD")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"<<<<<<< HEAD\n", b"\xff", b"[" * 5000, b'{"finetuned": 1}', b'"path","actual"\n"1",'],
)
@pytest.mark.parametrize(
    "read",
    [
        experiments.scores,
        experiments.validation,
        experiments.hashes,
        experiments.predictions,
        lambda revision: experiments.counts(revision, "test"),
        lambda revision: experiments.array("data/evaluation/probabilities.npy", revision),
    ],
)
def test_an_output_of_a_revision_that_is_damaged_is_one_line(monkeypatch, read, content):
    monkeypatch.setattr(experiments, "_content", lambda path, revision: content)
    with pytest.raises(UserError, match="of old is (damaged or of an earlier version|not valid YAML)"):
        read("old")


def test_an_unknown_parameter_is_named(monkeypatch):
    monkeypatch.setattr("dvc.api.params_show", lambda path, rev: {"seed": 1})
    with pytest.raises(UserError, match="train.drop is not a parameter of any"):
        experiments.parameters("any", ["seed", "train.drop"])


def test_hashes_are_those_of_dependencies_and_outputs(monkeypatch):
    lock = """
stages:
  split: {cmd: x, deps: [{path: data/mine, md5: 1a.dir}], outs: [{path: data/splits, md5: 2b.dir}]}
  report: {cmd: x}
"""
    monkeypatch.setattr(experiments, "_content", lambda path, revision: lock.encode())
    assert experiments.hashes("any") == {"split": {"data/mine": "1a.dir", "data/splits": "2b.dir"}, "report": {}}
