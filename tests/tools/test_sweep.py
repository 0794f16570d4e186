import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.tools import experiments, sweep

DEFAULTS = {"data.images": "a", "data.test": 0.2, "seed": 1, "rate": 0.1, "cut": 60, "dropout": 0.2}
LOSSES = {60: 0.3, 80: 0.2, 100: 0.4}


def table(*rows):
    return pd.DataFrame([DEFAULTS | row for row in rows], index=[f"e{number}" for number in range(len(rows))])


def chosen(*rows, keys=("cut",), **wanted):
    return list(sweep.choose(table(*rows), keys, wanted).index)


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
        chosen({}, other, keys=keys)


def test_another_parameter_that_differs_is_named_with_what_to_do():
    rows = [{}, {"cut": 80, "dropout": 0.5}]
    with pytest.raises(UserError, match=r"differ in dropout, too: add dropout as second PARAMETER, or .*dropout=0.2 "):
        chosen(*rows)
    with pytest.raises(UserError, match=r"differ in dropout, too: choose one, as with dropout=0.2 "):
        chosen(*rows, keys=("cut", "rate"))


def test_a_value_chooses_among_the_experiments():
    rows = [{}, {"cut": 80, "data.images": "b"}, {"data.images": "b"}]
    assert chosen(*rows, **{"data.images": "b"}) == ["e1", "e2"]
    with pytest.raises(UserError, match="no experiment of the current commit has data.images=c"):
        chosen(*rows, **{"data.images": "c"})


def seeds_of(capsys, *pairs):
    points = sweep.common_seeds(pd.DataFrame(pairs, columns=["cut", "seed"]), ["cut"])
    return sorted(set(points["seed"])), capsys.readouterr().out


def test_only_seeds_that_every_setting_has_are_compared(capsys):
    assert seeds_of(capsys, (60, 1), (60, 2), (80, 1), (80, 2)) == ([1, 2], "")
    seeds, said = seeds_of(capsys, (60, 1), (60, 2), (60, 3), (80, 1))
    assert seeds == [1] and "Not every setting has seed 2, 3: left out." in said


def test_settings_without_a_common_seed_are_refused(capsys):
    with pytest.raises(UserError, match="no seed in common"):
        seeds_of(capsys, (60, 1), (80, 2))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Experiments at three cuts and two seeds; their losses, and their test scores, which are the other way round."""
    monkeypatch.chdir(tmp_path)
    rows = {f"cut{cut}-{seed}": DEFAULTS | {"cut": cut, "seed": seed} for cut in LOSSES for seed in (1, 2)}
    monkeypatch.setattr(experiments, "names", lambda: list(rows))
    monkeypatch.setattr(experiments, "parameters", lambda name, required=(): rows[name])
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
    *rows, _, _, test = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows if "*" in row] == ["80"]
    assert test == "accuracy 0.2150, loss 0.7770 on 17 images"
    points = pd.read_csv("plots/sweep.csv")
    assert list(points) == ["experiment", "cut", "seed", "val_accuracy", "val_loss", "best"]
    assert set(points.loc[points["best"], "cut"]) == {80} and points["best"].sum() == 2


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
    settings = points.groupby(list(keys)).mean().reset_index()
    points["best"] = (points[list(keys)] == points.loc[0, list(keys)]).all(axis=1)
    figure = sweep.draw(points, settings, list(keys), "title")
    return figure, *figure.axes


def test_points_means_and_the_best_are_drawn_in_both_panels():
    _, upper, lower = drawn([(1, 0.8, 0.2), (1, 0.9, 0.4), (2, 0.7, 0.6)], "cut")
    for axes, values in ((upper, [0.8, 0.9, 0.7]), (lower, [0.2, 0.4, 0.6])):
        points, means, ring = axes.get_lines()
        assert list(points.get_ydata()) == values and list(points.get_xdata()) == [1, 1, 2]
        assert list(means.get_ydata()) == pytest.approx([sum(values[:2]) / 2, values[2]])
        assert ring.get_xydata().tolist() == [pytest.approx([1, sum(values[:2]) / 2])]
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


def test_text_values_stand_side_by_side():
    _, _, lower = drawn([("cosine", 0.8, 0.2), ("constant", 0.9, 0.4)], "schedule")
    assert [label.get_text() for label in lower.get_xticklabels()] == ["constant", "cosine"]


def test_learning_rates_stand_on_a_log_scale():
    _, _, lower = drawn([(rate, 0.8, 0.2) for rate in (1e-05, 1e-04, 1e-03)], "rate")
    assert lower.get_xscale() == "log"
    assert [label.get_text() for label in lower.get_xticklabels()] == ["1e-05", "0.0001", "0.001"]


def test_lists_are_compared_as_texts():
    found = pd.DataFrame({"finetune.epochs": [5, 20], "data.classes": [["cat", "dog"], []], "seed": [1, 1]})
    found = found.map(sweep.hashable)
    with pytest.raises(UserError, match=r"differ in data.classes: choose one, as with data.classes=\[cat,dog\]"):
        sweep.choose(found, ["finetune.epochs"], {})
    assert len(sweep.choose(found, ["finetune.epochs"], {"data.classes": "[cat,dog]"})) == 1
