import json

import numpy as np
import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.tools import compare, experiments, repeat_seeds, sweep


def test_repeats_are_paired_by_seed_and_single_experiments_as_they_are():
    names = ["x-seed-1", "x-seed-2", "x-seed-10", "y-seed-10", "y-seed-2", "y-seed-3", "z", "xy-seed-1"]
    assert compare.pair("x", "y", names) == [("x-seed-2", "y-seed-2"), ("x-seed-10", "y-seed-10")]
    assert compare.pair("z", "main", names) == [("z", "main")]
    with pytest.raises(UserError, match="like with like"):
        compare.pair("x", "z", names)
    with pytest.raises(UserError, match="no seed in common"):
        compare.pair("xy", "y", names)


def predictions(paths, predicted):
    return pd.DataFrame({"path": paths, "group": range(len(paths)), "actual": "cat", "predicted": predicted})


def test_other_images_are_refused_and_their_order_does_not_matter():
    first = predictions(["p", "q"], ["cat", "dog"])
    aligned = compare.align(first, predictions(["q", "p"], ["cat", "dog"]), "old", "new")
    assert aligned[["path", "a", "b"]].values.tolist() == [["p", True, False], ["q", False, True]]
    for other in (["p", "r"], ["p"], ["p", "q", "r"]):
        with pytest.raises(UserError, match="old and new were tested on different images"):
            compare.align(first, predictions(other, "cat"), "old", "new")


def test_the_interval_of_repeats_is_that_of_nadeau_and_bengio():
    [row] = repeat_seeds.summary(
        pd.DataFrame({"accuracy": [0.8, 0.9, 1.0]}), train_count=300, test_count=100
    ).itertuples()
    half = 4.302652729911275 * 0.1 * (1 / 3 + 1 / 3) ** 0.5  # Student's t, 2 degrees of freedom
    assert row[1:] == pytest.approx((0.9, 0.1, 0.9 - half, 0.9 + half))


def test_the_scores_of_an_experiment_are_those_of_its_models(monkeypatch):
    tree = {
        "frozen": {"accuracy": 0.8},
        "finetuned": {"accuracy": 0.9, "top5_accuracy": 1.0},
        "changed": {"gained": 3, "p": 0.2},
    }
    monkeypatch.setattr(experiments, "read", lambda path, revision: json.dumps(tree))
    assert experiments.scores("any").to_dict() == {
        "frozen accuracy": 0.8,
        "finetuned accuracy": 0.9,
        "finetuned top5": 1.0,
    }


def test_a_sweep_draws_every_point_with_its_interval():
    rows = [(rate, cut, 0.8 + cut / 1000, 0.7, 0.97) for rate in (0.1, 0.2) for cut in (60, 80, 100)]
    points = pd.DataFrame(rows, columns=["rate", "cut", "accuracy", "from", "to"])
    [axes] = sweep.draw(points, "cut", "rate").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rate 0.1", "rate 0.2"]
    segments = [segment for bars in axes.collections for segment in bars.get_segments()]
    assert len(segments) == 6 and all(np.allclose(segment[:, 1], [0.7, 0.97]) for segment in segments)
    words = pd.DataFrame({"kind": ["constant", "cosine"], "accuracy": 0.9, "from": 0.8, "to": 0.95})
    [axes] = sweep.draw(words, "kind").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["constant", "cosine"]
