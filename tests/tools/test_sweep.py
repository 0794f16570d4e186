from pathlib import Path

import pandas as pd
import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.tools import experiments, sweep

DEFAULTS = {
    "data.images": "a",
    "data.test": 0.2,
    "data.fold": "none",
    "seed": 1,
    "rate": 0.1,
    "cut": 60,
    "dropout": 0.2,
}
LOSSES = {60: 0.3, 80: 0.2, 100: 0.4}


def table(*rows):
    return pd.DataFrame([DEFAULTS | row for row in rows], index=[f"e{number}" for number in range(len(rows))])


def chosen(*rows, keys=("cut",), **wanted):
    return list(sweep.choose(table(*rows), keys, wanted, DEFAULTS).index)


def test_experiments_that_differ_in_drawn_parameters_and_the_seed_are_compared():
    assert chosen({"cut": 60}, {"cut": 80, "seed": 2}) == ["e0", "e1"]
    assert chosen({"cut": 60}, {"cut": 80, "rate": 0.2}, keys=("cut", "rate")) == ["e0", "e1"]


def test_the_same_setting_and_seed_counts_once():
    assert chosen({"cut": 60}, {"cut": 60}, {"cut": 60, "seed": 2}) == ["e0", "e2"]


@pytest.mark.parametrize(
    ("other", "keys"),
    [({"data.images": "b"}, ("cut",)), ({"data.test": 0.3}, ("cut",)), ({"data.test": 0.3}, ("data.test",))],
)
def test_other_images_or_splits_are_refused_even_if_they_are_to_be_drawn(other, keys):
    [(key, value)] = other.items()
    words = rf"validate on different images, as they differ in {key}: .* {key}={DEFAULTS[key]} \(others are {value}\)"
    with pytest.raises(UserError, match=words):
        chosen({}, other | {"cut": 80}, keys=keys)


def test_another_parameter_that_differs_is_named_with_what_to_do():
    rows = [{}, {"cut": 80, "dropout": 0.5}]
    with pytest.raises(UserError, match=r"differ in dropout, too: add dropout as second PARAMETER, or .*dropout=0.2 "):
        chosen(*rows)
    with pytest.raises(UserError, match=r"differ in dropout, too: choose one, as with dropout=0.2 "):
        chosen(*rows, keys=("cut", "rate"))


def test_a_value_chooses_among_the_experiments():
    rows = [{}, {"cut": 80, "data.images": "b"}, {"data.images": "b"}]
    assert chosen(*rows, **{"data.images": "b"}) == ["e1", "e2"]
    with pytest.raises(UserError, match="no experiment .* has data.images=c: there are a, b."):
        chosen(*rows, **{"data.images": "c"})


def test_of_experiments_that_differ_in_more_those_with_the_committed_values_are_drawn(capsys):
    rows = [{}, {"cut": 80}, {"cut": 100, "dropout": 0.5}, {"cut": 100, "rate": 0.2}, {"data.images": "b", "cut": 9}]
    assert chosen(*rows) == ["e0", "e1"]
    assert capsys.readouterr().out.splitlines() == [
        "Left out, as data.images is not the committed a: 1 run, e4.",
        "Left out, as rate is not the committed 0.1: 1 run, e3.",
        "Left out, as dropout is not the committed 0.2: 1 run, e2.",
    ]
    assert chosen(*rows, keys=("cut", "rate")) == ["e0", "e1", "e3"]


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_the_folds_of_a_cross_validation_are_left_out(folds, capsys):
    own = [{}, {"cut": 80}]
    validated = [{"data.fold": f"{fold}/{folds}", "cut": 90} for fold in range(1, folds + 1)]
    assert chosen(*validated, *own) == [f"e{folds}", f"e{folds + 1}"]
    assert f"Left out, as data.fold is not the committed none: {folds} runs, e0, e1" in capsys.readouterr().out
    assert chosen(*validated) == []
    assert chosen(*own, *validated, **{"data.fold": f"1/{folds}"}) == ["e2"]


def test_a_parameter_that_the_commit_lacks_is_named(capsys):
    assert chosen({}, {"cut": 80}, {"cut": 90, "finetun.epochs": 5}) == ["e0", "e1"]
    assert "Left out, as the commit has no finetun.epochs: 1 run, e2." in capsys.readouterr().out


def seeds_of(capsys, *pairs):
    points = sweep.common_seeds(pd.DataFrame(pairs, columns=["cut", "seed"]), ["cut"])
    return sorted(set(points["seed"])), capsys.readouterr().out


def test_only_seeds_that_every_setting_has_are_compared(capsys):
    assert seeds_of(capsys, (60, 1), (60, 2), (80, 1), (80, 2)) == ([1, 2], "")
    seeds, said = seeds_of(capsys, (60, 1), (60, 2), (60, 3), (80, 1))
    assert seeds == [1] and "Not every setting has seed 2, 3: left out." in said


def test_settings_without_the_seed_that_most_have_are_left_out(capsys):
    seeds, said = seeds_of(capsys, (60, 42), (80, 1), (80, 2), (100, 1), (100, 2))
    assert seeds == [1, 2]
    assert said.splitlines() == [
        "Not every setting has seed 42: left out.",
        "Left out, as it has no run with seed 1, 2: cut 60.",
    ]


@pytest.mark.parametrize(
    ("only", "seed", "example"),
    [(60, 1, "-S cut=VALUE"), (80, 1, "-S cut=60"), (80, 7, "-S cut=60 -S seed=7"), (60, 7, "-S cut=VALUE -S seed=7")],
)
def test_one_setting_alone_ends_in_a_sentence_with_what_to_run(only, seed, example):
    words = f"nothing to compare: cut={only} is the only setting that has run. .*`dvc exp run --temp {example} plot`"
    with pytest.raises(UserError, match=words):
        sweep.check_settings(pd.DataFrame({"cut": [only], "seed": [seed]}), ["cut"], DEFAULTS, [])


def test_what_the_workspace_changes_is_not_taken_along():
    points = pd.DataFrame({"cut": [60], "seed": [1]})
    with pytest.raises(UserError, match="-S cut=VALUE -S rate=0.1 plot"):
        sweep.check_settings(points, ["cut"], DEFAULTS, ["rate", "cut", "unknown"])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Experiments at three cuts and two seeds; their losses, and their test scores, which are the other way round."""
    monkeypatch.chdir(tmp_path)
    rows = {f"cut{cut}-{seed}": DEFAULTS | {"cut": cut, "seed": seed} for cut in LOSSES for seed in (1, 2)}
    monkeypatch.setattr(experiments, "names", lambda: list(rows))
    monkeypatch.setattr(experiments, "parameters", lambda name, required=(): rows.get(name, DEFAULTS))
    monkeypatch.setattr(experiments, "is_run", lambda revision: False)
    monkeypatch.setattr(params, "check_name", lambda key: None)
    loss = {name: LOSSES[row["cut"]] + row["seed"] / 100 for name, row in rows.items()}
    monkeypatch.setattr(experiments, "validation", lambda name: {"val_accuracy": 0.75, "val_loss": loss[name]})
    model = {"data/models/finetuned": "1"}
    monkeypatch.setattr(experiments, "hashes", lambda name: {"split": {}, "finetune": model, "evaluate": model})
    monkeypatch.setattr(experiments, "counts", lambda name, split: {"a": 10, "b": 7})
    scores = {name: {"finetuned accuracy": loss[name], "finetuned loss": 0.777} for name in rows}
    monkeypatch.setattr(experiments, "scores", lambda name: pd.Series(scores.pop(name)))
    return scores  # that nobody has asked for


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["sweep", *arguments])
    sweep.main()


def test_the_best_by_validation_is_the_only_one_whose_test_score_is_read(project, monkeypatch, capsys):
    run(monkeypatch, "cut")
    assert sorted(project) == ["cut100-1", "cut100-2", "cut60-1", "cut60-2"]
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines() if "lowest loss" in line] == [
        ["80", "0.7500", "0.2150", "lowest", "loss"]
    ]
    assert "Means of seeds 1, 2, drawn in plots/sweep.png." in said
    assert "accuracy 0.2150, loss 0.7770 on 17 images" in " ".join(said.split())
    points = pd.read_csv("plots/sweep.csv")
    assert list(points) == ["experiment", "cut", "seed", "val_accuracy", "val_loss", "best", "committed"]
    assert set(points.loc[points["best"], "cut"]) == {80} and points["best"].sum() == 2
    assert not points["committed"].any()


@pytest.fixture
def committed(project, monkeypatch):
    """Of the project, one experiment at cut 80 and seed 1, and the run of the commit, at 60."""
    monkeypatch.setattr(experiments, "names", lambda: ["cut80-1"])
    monkeypatch.setattr(experiments, "is_run", lambda revision: revision == "HEAD")
    losses = {"HEAD": 0.3, "cut80-1": 0.2}
    monkeypatch.setattr(experiments, "validation", lambda name: {"val_accuracy": 0.75, "val_loss": losses[name]})
    monkeypatch.setattr(experiments, "scores", lambda name: pd.Series({"finetuned accuracy": 1, "finetuned loss": 0}))
    return losses


def test_the_run_of_the_commit_is_a_point(committed, monkeypatch, capsys):
    run(monkeypatch, "cut")
    said = capsys.readouterr().out
    assert pd.read_csv("plots/sweep.csv")[["experiment", "cut", "committed"]].values.tolist() == [
        ["HEAD", 60, True],
        ["cut80-1", 80, False],
    ]
    assert ["60", "0.7500", "0.3000", "committed"] in [line.split() for line in said.splitlines()]
    text = " ".join(said.split())
    assert "Validation loss 0.2 against 0.3 of the committed settings, and as many of the 17 valid" in text
    assert "repeat_seeds committed cut=60 python -m stages.tools.repeat_seeds best cut=80 python" in text


def test_if_the_committed_settings_are_the_best_nothing_is_to_be_done(committed, monkeypatch, capsys):
    committed["HEAD"] = 0.1
    run(monkeypatch, "cut")
    said = capsys.readouterr().out
    assert "lowest loss, committed" in said and "there is nothing to change" in said and "repeat_seeds" not in said


@pytest.mark.parametrize("own", [True, False])
def test_one_run_alone_draws_nothing(committed, monkeypatch, own):
    monkeypatch.setattr(experiments, "is_run", lambda revision: own and revision == "HEAD")
    monkeypatch.setattr(experiments, "names", lambda: [] if own else ["cut80-1"])
    with pytest.raises(UserError, match=f"nothing to compare: .* -S cut={'VALUE' if own else 60} plot"):
        run(monkeypatch, "cut")
    assert not Path("plots").exists()


def test_a_run_of_the_commit_on_other_images_is_left_out(committed, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "names", lambda: ["cut80-1", "cut100-1"])
    committed["cut100-1"] = 0.4
    model = {"data/models/finetuned": "1"}
    lock = {"finetune": model, "evaluate": model}
    monkeypatch.setattr(experiments, "hashes", lambda name: lock | {"split": {"a": str(name == "HEAD")}})
    run(monkeypatch, "cut")
    assert "Left out, as a had other images: the run of HEAD." in capsys.readouterr().out
    assert set(pd.read_csv("plots/sweep.csv")["cut"]) == {80, 100}


def test_a_misspelt_parameter_is_named_with_the_nearest(project, monkeypatch):
    monkeypatch.undo()
    for arguments in (["finetune.epoch"], ["finetune.passes", "finetune.epoch=5"]):
        with pytest.raises(UserError, match="did you mean finetune.epochs?"):
            run(monkeypatch, *arguments)


def test_images_that_changed_between_experiments_are_refused(project, monkeypatch):
    monkeypatch.setattr(experiments, "hashes", lambda name: {"split": {"a": str(name == "cut80-2")}})
    with pytest.raises(UserError, match="a has other images in experiment cut80-2 than in cut60-1"):
        run(monkeypatch, "cut")
    assert len(project) == 6


def test_a_model_that_was_not_tested_has_no_score(project, monkeypatch, capsys):
    lock = {"split": {}, "finetune": {"data/models/finetuned": "2"}, "evaluate": {"data/models/finetuned": "1"}}
    monkeypatch.setattr(experiments, "hashes", lambda name: lock)
    run(monkeypatch, "cut")
    assert "not tested yet (`dvc exp apply cut80-1`, then `dvc repro`)" in capsys.readouterr().out
    assert len(project) == 6


@pytest.mark.parametrize("keys", [[], ["a", "b", "c"]])
def test_one_or_two_parameters_are_drawn(keys, monkeypatch):
    with pytest.raises(UserError, match=f"{len(keys)} parameters are given"):
        run(monkeypatch, "seed=1", *keys)


def drawn(rows, *keys):
    """The panels of a chart of points (*keys, val_accuracy, val_loss), of which the first setting is the best."""
    points = pd.DataFrame(rows, columns=[*keys, "val_accuracy", "val_loss"])
    settings = points.groupby(list(keys), sort=False).mean().reset_index()
    points["best"] = (points[list(keys)] == points.loc[0, list(keys)]).all(axis=1)
    points["committed"] = points.index == len(points) - 1
    figure = sweep.draw(points, settings, list(keys), "title")
    return figure, *figure.axes


def test_points_means_and_the_best_are_drawn_in_both_panels():
    _, upper, lower = drawn([(1, 0.8, 0.2), (1, 0.9, 0.4), (2, 0.7, 0.6)], "cut")
    for axes, values in ((upper, [0.8, 0.9, 0.7]), (lower, [0.2, 0.4, 0.6])):
        points, means, ring, square = axes.get_lines()
        assert list(points.get_ydata()) == values and list(points.get_xdata()) == [1, 1, 2]
        assert list(means.get_ydata()) == pytest.approx([sum(values[:2]) / 2, values[2]])
        assert ring.get_xydata().tolist() == [pytest.approx([1, sum(values[:2]) / 2])]
        assert square.get_xydata().tolist() == [[2, values[2]]]
    assert lower.get_xscale() == "linear" and upper.get_shared_x_axes().joined(upper, lower)


def test_each_value_of_the_second_parameter_has_its_line():
    figure, _, lower = drawn([(x, y, 0.8, x * y) for x in (1, 2) for y in range(12)], "cut", "rate")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(y) for y in range(12)]
    lines = [line for line in lower.get_lines() if line.get_label() in map(str, range(12))]
    assert [list(line.get_ydata()) for line in lines] == [[y, 2 * y] for y in range(12)]
    assert len({str(line.get_color()) for line in lines}) == 12


def test_the_legend_shows_values_that_start_with_an_underscore():
    names = ["__", "_own", "plain"]
    figure, *_ = drawn([(x, name, 0.8, 0.2) for x in (1, 2) for name in names], "cut", "data.images")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


@pytest.mark.parametrize("accuracies", [(1, 1), (0.99, 1), (0, 0), (0.5, 0.75), (0, 1)])
@pytest.mark.parametrize("losses", [(0, 0), (1e-5, 2), (0.3, 0.3)])
def test_no_axis_goes_beyond_what_can_be(accuracies, losses):
    _, upper, lower = drawn([(x, a, b) for x, (a, b) in enumerate(zip(accuracies, losses, strict=True))], "cut")
    low, high = upper.get_ylim()
    assert 0 <= low <= min(accuracies) and max(accuracies) <= high <= 1 and 0.01 < high - low
    assert 0 == lower.get_ylim()[0] or 0 < lower.get_ylim()[0] < min(losses)
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0", "1"]


def test_labels_on_the_axis_do_not_touch():
    assert sweep.apart([1, 2, 3, 50, 100], float) == [1, 50, 100]
    assert sweep.apart([0, 10, 20], float) == [0, 10, 20]


def test_a_text_among_numbers_stands_after_them():
    _, _, lower = drawn([(value, 0.8, 0.2) for value in ("auto", 0.001, 0.0001, 0.01)], "rate")
    assert [label.get_text() for label in lower.get_xticklabels()] == ["0.0001", "0.001", "0.01", "auto"]


def test_text_values_stand_side_by_side():
    _, _, lower = drawn([("cosine", 0.8, 0.2), ("constant", 0.9, 0.4)], "schedule")
    assert [label.get_text() for label in lower.get_xticklabels()] == ["constant", "cosine"]


def test_learning_rates_stand_on_a_log_scale():
    _, _, lower = drawn([(rate, 0.8, 0.2) for rate in (1e-05, 1e-04, 1e-03)], "rate")
    assert lower.get_xscale() == "log"
    assert [label.get_text() for label in lower.get_xticklabels()] == ["1e-05", "0.0001", "0.001"]


def test_lists_are_compared_as_texts():
    found = pd.DataFrame({"finetune.epochs": [5, 20], "data.classes": [["cat", "dog"], []], "data.fold": "none"})
    found = found.map(sweep.hashable).assign(seed=1)
    committed = {"finetune.epochs": 5, "data.classes": "[bird]", "data.fold": "none", "seed": 1}
    with pytest.raises(UserError, match=r"differ in data.classes: choose one, as with data.classes=\[cat,dog\]"):
        sweep.choose(found, ["finetune.epochs"], {}, committed)
    assert len(sweep.choose(found, ["finetune.epochs"], {"data.classes": "[cat,dog]"}, committed)) == 1
