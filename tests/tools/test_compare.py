import json

import pandas as pd
import pytest
from dvc.scm import RevError

from stages.common.cli import UserError
from stages.tools import compare, experiments

NAMES = ["x-seed-1", "x-seed-2", "x-seed-10", "y-seed-10", "y-seed-2", "y-seed-3", "z", "xy-seed-1"]


def test_repeats_are_paired_by_seed():
    assert compare.pair("x", "y", NAMES) == [("x-seed-2", "y-seed-2"), ("x-seed-10", "y-seed-10")]


def test_single_experiments_and_revisions_are_paired_as_they_are():
    assert compare.pair("z", "main", NAMES) == [("z", "main")]


@pytest.mark.parametrize(("a", "b", "words"), [("x", "z", "like with like"), ("xy", "y", "no seed in common")])
def test_what_cannot_be_paired_is_refused(a, b, words):
    with pytest.raises(UserError, match=words):
        compare.pair(a, b, NAMES)


def predictions(paths, predicted):
    return pd.DataFrame({"path": paths, "group": range(len(paths)), "actual": "cat", "predicted": predicted})


def test_predictions_are_aligned_by_image_in_whatever_order():
    aligned = compare.align(
        predictions(["p", "q"], ["cat", "dog"]), predictions(["q", "p"], ["cat", "dog"]), "old", "new"
    )
    assert aligned[["path", "a", "b"]].values.tolist() == [["p", True, False], ["q", False, True]]


@pytest.mark.parametrize("other", [["p", "r"], ["p"], ["p", "q", "r"]])
def test_predictions_of_other_images_are_refused(other):
    with pytest.raises(UserError, match="old and new were tested on different images"):
        compare.align(predictions(["p", "q"], ["cat", "dog"]), predictions(other, "cat"), "old", "new")


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
