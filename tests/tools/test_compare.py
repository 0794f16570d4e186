import numpy as np
import pandas as pd
import pytest
from dvc.scm import RevError

from stages.common.cli import UserError
from stages.tools import compare, experiments, repeat_seeds, sweep

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


def test_the_interval_of_repeats_is_that_of_nadeau_and_bengio():
    accuracies = pd.DataFrame({"accuracy": [0.8, 0.9, 1.0]})
    [row] = repeat_seeds.summary(accuracies, train_count=300, test_count=100).itertuples()
    half = 4.302652729911275 * 0.1 * (1 / 3 + 1 / 3) ** 0.5  # Student's t, 2 degrees of freedom
    assert row[1:] == pytest.approx((0.9, 0.1, 0.9 - half, 0.9 + half))


def test_a_finished_experiment_with_other_parameters_is_refused(monkeypatch):
    monkeypatch.setattr(experiments, "parameters", lambda name: {"finetune.learning_rate": 1e-05, "seed": 1})
    repeat_seeds.check("x-seed-1", ["finetune.learning_rate=1e-05", "seed=1"])
    with pytest.raises(UserError, match="experiment x-seed-1 has finetune.learning_rate=1e-05: take another NAME"):
        repeat_seeds.check("x-seed-1", ["finetune.learning_rate=2e-05", "seed=1"])


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
    monkeypatch.setattr("dvc.api.metrics_show", lambda path, rev: tree)
    assert experiments.scores("any").to_dict() == {
        "frozen accuracy": 0.8,
        "finetuned accuracy": 0.9,
        "finetuned top5_accuracy": 1.0,
    }


def test_parameters_are_named_as_in_params_yaml(monkeypatch):
    monkeypatch.setattr("dvc.api.params_show", lambda path, rev: {"seed": 1, "train": {"dropout": 0.2}})
    assert experiments.parameters("any") == {"seed": 1, "train.dropout": 0.2}


@pytest.mark.parametrize("read", [experiments.parameters, experiments.scores, experiments.predictions])
def test_an_unknown_revision_is_one_line(monkeypatch, read):
    def fail(*_, **__):
        raise RevError("unknown Git revision 'nothing'")

    for function in ("params_show", "metrics_show", "read"):
        monkeypatch.setattr(f"dvc.api.{function}", fail)
    with pytest.raises(UserError, match="of nothing: unknown Git revision 'nothing'. `dvc exp show` lists"):
        read("nothing")


def test_a_sweep_draws_every_point_with_its_interval():
    rows = [(rate, cut, 0.8 + cut / 1000, 0.7, 0.97) for rate in (0.1, 0.2) for cut in (60, 80, 100)]
    points = pd.DataFrame(rows, columns=["rate", "cut", "accuracy", "from", "to"])
    [axes] = sweep.draw(points, "cut", "rate").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rate 0.1", "rate 0.2"]
    segments = [segment for bars in axes.collections for segment in bars.get_segments()]
    assert len(segments) == 6 and all(np.allclose(segment[:, 1], [0.7, 0.97]) for segment in segments)


def test_a_sweep_over_text_values_has_a_tick_for_each():
    points = pd.DataFrame({"kind": ["constant", "cosine"], "accuracy": 0.9, "from": 0.8, "to": 0.95})
    [axes] = sweep.draw(points, "kind").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["constant", "cosine"]
