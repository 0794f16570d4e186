"""Grids through DVC's queue, and the tools that read experiments, on one small project that has run."""

import collections
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pandas as pd
import pytest
import yaml
from dvc.exceptions import NotDvcRepoError
from dvc.utils import hydra
from pygit2 import GitError
from scmrepo.exceptions import SCMError

from stages.common import params
from stages.common.cli import UserError
from stages.tools import compare, experiments, repeat_seeds, search, sweep
from tests.support import Project, experiment_names, ran

PATHS = [
    "фото",
    "my pics (1)",
    "a#1",
    "x #1",
    "it's",
    "a,b",
    "a=b",
    "[x]",
    "{a: b}",
    "a: b",
    'say "x"',
    "end\\",
    "$x",
    "${HOME}",
    "${a",
    "a*b?",
    "😀/猫",
    "&x",
]


@pytest.mark.parametrize("path", PATHS)
def test_dvc_sets_a_path_of_any_characters(path, tmp_path):
    change = f"data.images={path}"
    (tmp_path / "params.yaml").write_text("data:\n  images: x\n")
    hydra.apply_overrides(tmp_path / "params.yaml", [experiments.override(change)])
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == {"data": {"images": path}}
    assert experiments.setting(change) == ("data.images", path)
    assert not any(
        override.is_sweep_override() for override in hydra.to_hydra_overrides([experiments.override(change)])
    )


@pytest.mark.parametrize("text", ["1e-05", "5", "null", "true", "0.1"])
def test_numbers_are_handed_on_as_they_are(text):
    assert experiments.override(f"key={text}") == f"key={text}"


@pytest.mark.parametrize("key", ["data.classes", "data.columns.names"])
def test_a_list_is_a_list_where_the_parameter_is_one(key, monkeypatch):
    change = f"{key}=[cat,not dog]"
    assert experiments.setting(change) == (key, ["cat", "not dog"]) and experiments.override(change) == change
    assert experiments.setting("data.images=[x]") == ("data.images", "[x]")
    monkeypatch.setattr(experiments, "parameters", lambda name: {key: ["cat", "not dog"]})
    repeat_seeds.check("x-seed-1", [change])


@pytest.mark.parametrize(
    "value", ["9" * 6000, "[" * 3000, "!!bool x", "2026-13-45", "*a", "%YAML 1.9\n---\na", "\0", "'", "a: b: c"]
)
def test_odd_yaml_is_a_text(value):
    assert experiments.setting(f"data.images={value}") == ("data.images", value)


def test_a_text_in_quotes_is_the_text():
    for text in ("precision>=0.95", "'precision>=0.95'"):
        assert experiments.override(f"evaluate.threshold={text}") == "evaluate.threshold='precision>=0.95'"


@pytest.mark.parametrize("change", ["data.group_pattern=", "data.columns.split=", "data.label_pattern=''"])
def test_repeats_with_an_empty_text_go_on(change, monkeypatch):
    monkeypatch.setattr(experiments, "parameters", lambda name: {change.partition("=")[0]: ""})
    repeat_seeds.check("x-seed-1", [change])
    assert experiments.override(change).endswith("=''")


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A commit of DVC with outputs of each kind: a folder and a file in its cache, and a file in git."""
    project = Project(tmp_path_factory.mktemp("cached"))
    write = "import os; os.makedirs('data/splits/test'); open('data/splits/test/pixels.npy', 'wb').write(b'x' * 1000)"
    write += "; open('data/splits/classes.json', 'w').write('[1]'); open('metrics.json', 'w').write('[2]')"
    stage = {"cmd": f'python -c "{write}"', "outs": ["data/splits/test", "data/splits/classes.json"]}
    text = yaml.safe_dump({"stages": {"split": stage | {"metrics": [{"metrics.json": {"cache": False}}]}}})
    (project.folder / "dvc.yaml").write_text(text)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "repro", "-q")
    project.commit()
    return project


@pytest.mark.parametrize("damage", [lambda x: b"", lambda x: x[:2], lambda x: bytes([x[0] ^ 1]) + x[1:]])
@pytest.mark.parametrize("path", ["data/splits/test/pixels.npy", "data/splits/classes.json"])
def test_what_is_damaged_in_the_cache_is_not_read(cached, monkeypatch, path, damage):
    monkeypatch.chdir(cached.folder)
    content = (cached.folder / path).read_bytes()
    assert experiments._content(path, "HEAD") == content
    assert experiments._content("metrics.json", "HEAD") == b"[2]"
    digest = hashlib.md5(content).hexdigest()
    place = Path(".dvc/cache/files/md5", digest[:2], digest[2:])
    place.chmod(0o644)
    place.write_bytes(damage(content))
    try:
        remedy = f"Delete {place}, then `dvc exp remove HEAD`, and run this again."
        with pytest.raises(UserError, match=f"^{path} of HEAD is damaged in DVC's cache. {re.escape(remedy)}$"):
            experiments._content(path, "HEAD")
        with (
            pytest.raises(UserError, match=f"^/?{path} of HEAD is damaged in DVC's cache"),
            experiments.test_split("HEAD"),
        ):
            pass
        assert [x.name for x in Path("data").iterdir() if x.suffix == ".tmp"] == []
    finally:
        place.write_bytes(content)


@pytest.mark.parametrize("key", ["data.images", "data.labels", "data.corrections", "model.weights"])
def test_temporary_copies_must_find_each_file_that_they_read(key, monkeypatch):
    data = SimpleNamespace(images="/pics", labels="/labels.csv", corrections="/corrections.csv")
    current = SimpleNamespace(data=data, model=SimpleNamespace(weights="/own.weights.h5"))
    monkeypatch.setattr(params, "read", lambda *_: current)
    experiments.check_paths(["seed=1"])
    with pytest.raises(UserError, match="../mine leads out of the repository"):
        experiments.check_paths([f"{key}=../mine"])
    group, name = key.split(".")
    setattr(getattr(current, group), name, "../mine")
    with pytest.raises(UserError, match="../mine leads out of the repository"):
        experiments.check_paths(["seed=1"])


@pytest.mark.parametrize(
    ("text", "words"), [("seed: [1\n", "is not valid YAML"), ("seed: 1\ndata: {images: mine}\n", "labels is missing")]
)
def test_faults_of_params_yaml_end_in_one_line(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        experiments.check_paths(["seed=1"])


@pytest.mark.parametrize(
    "error",
    [NotDvcRepoError("not inside of a DVC repository"), SCMError("not a git repository"), GitError("not owned by you")],
)
def test_outside_of_a_clone_of_ones_own_reading_experiments_ends_in_one_line(monkeypatch, error):
    for name in ("exp_show", "params_show", "read"):
        monkeypatch.setattr(f"dvc.api.{name}", mock.Mock(side_effect=error))
    with pytest.raises(UserError, match=f"cannot be listed .{error}.. Run this in a git clone of your own"):
        experiments.names()
    for read in (experiments.parameters, experiments.scores, experiments.hashes):
        with pytest.raises(UserError, match=f"of HEAD: {error}"):
            read("HEAD")


@pytest.fixture(scope="module")
def grids(grid_run, tmp_path_factory):
    project = grid_run.copy(tmp_path_factory.mktemp("grids") / "project")
    project.output = grid_run.output
    return project


@pytest.mark.slow
def test_all_experiments_of_two_grids_succeed_and_shared_stages_run_once(grids):
    status = grids.run("dvc", "queue", "status")
    assert status.count("Success") == 4, status
    # One of the 4 settings is the baseline's.
    assert collections.Counter(ran(grids.output)) == {"finetune": 3, "evaluate": 3, "plot": 3}


@pytest.mark.slow
def test_the_table_of_experiments_starts_with_the_accuracy(grids):
    table = pd.read_csv(io.StringIO(grids.run("dvc", "exp", "show", "--csv")))
    about_the_run = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor"}
    assert next(name for name in table if name not in about_the_run) == "metrics/finetuned.json:accuracy"
    assert {"finetune.epochs", "finetune.learning_rate"} <= set(table)


@pytest.mark.slow
def test_plots_diff_draws_both_histories_in_one_chart(grids):
    first, second = experiment_names(grids)[:2]
    shown = json.loads(grids.run("dvc", "plots", "diff", first, second, "--json"))["data"]
    assert {rev for plot in shown["Accuracy"] for rev in plot["revisions"]} == {first, second}


@pytest.fixture
def run(grids, monkeypatch, capsys):
    """Runs a tool in this process and the project of the grids; returns what it prints."""
    monkeypatch.chdir(grids.folder)

    def main(tool, *arguments):
        monkeypatch.setattr("sys.argv", [tool.__name__, *arguments])
        tool.main()
        return capsys.readouterr().out

    return main


@pytest.mark.slow
def test_a_sweep_is_drawn_from_the_grid(grids, run):
    said = run(sweep, "finetune.epochs", "finetune.learning_rate")
    points = pd.read_csv(grids.folder / "plots/sweep.csv")
    assert set(points["finetune.epochs"]) == {4, 5, 20}
    assert set(points["finetune.learning_rate"]) == {0.0005, 0.00001}
    best = points.loc[points["val_loss"].idxmin(), "experiment"]
    assert points.loc[points["best"], "experiment"].tolist() == [best]
    _, head = json.loads(grids.run("dvc", "exp", "show", "--json", "--rev", "HEAD"))  # as DVC has it
    found = {exp["name"]: exp["revs"][0]["data"] for exp in head["experiments"]} | {"HEAD": head["data"]}
    scores = found[best]["metrics"]["metrics/finetuned.json"]["data"]
    test = f"accuracy {scores['accuracy']:.4f}, loss {scores['loss']:.4f} on 8 images"
    assert test in " ".join(said.split())
    assert (grids.folder / "plots/sweep.png").stat().st_size > 10_000
    assert grids.run("git", "status", "--porcelain", "plots") == ""


@pytest.mark.slow
def test_a_sweep_of_one_parameter_leaves_out_other_values_of_the_others_and_has_the_run_of_the_commit(grids, run):
    assert experiments.is_run("HEAD") and experiments.is_run("workspace")
    said = run(sweep, "finetune.epochs")
    assert "Left out, as finetune.learning_rate is not the committed 0.0005: 1 run" in said
    points = pd.read_csv(grids.folder / "plots/sweep.csv")
    assert points["finetune.epochs"].tolist() == [4, 5, 20]
    assert points.loc[points["committed"], ["experiment", "finetune.epochs"]].values.tolist() == [["HEAD", 4]]


@pytest.mark.slow
def test_results_of_other_parameters_are_no_run_of_these(grids, tmp_path, monkeypatch):
    project = grids.copy(tmp_path / "project")
    project.set({"finetune.epochs": 7})
    monkeypatch.chdir(project.folder)
    assert experiments.is_run("HEAD") and not experiments.is_run("workspace")
    project.run("git", "checkout", "params.yaml")
    (project.folder / "data/training/finetune.json").unlink()
    (project.folder / "data/training/finetune.json").write_text("{}")
    assert not experiments.is_run("workspace")


@pytest.mark.slow
def test_parameters_and_files_that_an_experiment_lacks_are_named_in_the_error(grids, monkeypatch):
    monkeypatch.chdir(grids.folder)
    name = experiment_names(grids)[0]
    with pytest.raises(UserError, match=f"none is not a parameter of {name}"):
        experiments.parameters(name, ["none"])
    with pytest.raises(UserError, match="plots/predictions.csv of nothing: "):
        experiments.predictions("nothing")
    with pytest.raises(UserError, match=f"experiment {name} has finetune.epochs=.*: take another NAME"):
        repeat_seeds.check(name, ["finetune.epochs=10"])


@pytest.mark.slow
def test_two_settings_are_compared_image_by_image(grids, run):
    assert "8 images" in run(compare, *experiment_names(grids)[:2])


@pytest.mark.slow
def test_repeats_need_images_that_are_committed(grids, run, tmp_path, monkeypatch):
    project = grids.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    shutil.copytree(project.folder / "data/mine", project.folder / "data/other")
    project.run("dvc", "add", "data/other")
    for tool in (repeat_seeds, search):
        with pytest.raises(UserError, match="^git does not have data/other.dvc"):
            run(tool, "other", "data.images=data/other")


@pytest.mark.slow
def test_repeats_run_once_and_report_the_standard_deviation(grids, run):
    arguments = ("short", "--seeds", "2", "finetune.epochs=5")
    output = grids.run("python", "-m", "stages.tools.repeat_seeds", *arguments)
    # Seed 1 is the grid's own; DVC has no run cache for plot, whose history.csv is kept in git.
    expected = {"split": 1, "train_frozen": 1, "finetune": 1, "evaluate": 1, "plot": 2}
    assert collections.Counter(ran(output)) == expected
    assert "standard deviation" in output and "finetuned accuracy" in output
    again = run(repeat_seeds, *arguments)
    assert ran(again) == [] and "standard deviation" in again
    assert grids.run("git", "status", "--porcelain", "params.yaml", "dvc.lock") == ""


@pytest.fixture(scope="module")
def applied(grids, tmp_path_factory):
    """A copy in whose workspace is the experiment that differs from the commit in the learning rate alone."""
    project = grids.copy(tmp_path_factory.mktemp("applied") / "project")
    changed = {"finetune.epochs": 4, "finetune.learning_rate": 0.00001}
    table = pd.read_csv(io.StringIO(project.run("dvc", "exp", "show", "--csv"))).dropna(subset="Experiment")
    [name] = table.loc[(table[list(changed)] == list(changed.values())).all(axis=1), "Experiment"]
    project.run("dvc", "exp", "apply", name)
    return project


@pytest.mark.slow
def test_after_an_experiment_up_to_plot_export_and_report_are_left_to_run(applied):
    assert ran(applied.run("dvc", "repro", "--dry")) == ["export", "review", "report", "try_page"]


@pytest.mark.slow
def test_metrics_diff_shows_old_and_new(applied):
    difference = json.loads(applied.run("dvc", "metrics", "diff", "--json"))
    loss = difference["metrics/finetuned.json"]["loss"]
    assert loss["old"] != loss["new"]
    assert "metrics/frozen.json" not in difference
    shown = applied.run("dvc", "metrics", "diff")
    assert "metrics/finetuned.json" in shown and len(shown.splitlines()) <= 10


@pytest.mark.slow
def test_a_small_learning_rate_given_to_dvc_is_read_as_a_number(applied):
    assert "learning_rate: 1e-05" in (applied.folder / "params.yaml").read_text()  # which PyYAML takes for text
    assert 0 < pd.read_csv(applied.folder / "data/training/finetune.csv")["learning_rate"].max() <= 0.00001
