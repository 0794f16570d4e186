import contextlib
import os
import shutil
import sys

import optuna
import pytest

from stages.common import history, params
from stages.common.cli import UserError
from stages.tools import experiments, search, sweep
from tests.support import ROOT

# A made-up `dvc`: it prints three epochs of a trial with the trial's loss, which it reads from the file `losses`. A
# negative loss stands for a failed trial; after a loss of 9 it waits for Ctrl-C.
DVC = f"""#!{sys.executable}
import pathlib, signal, sys

signal.alarm(60)  # if nobody interrupts
name = sys.argv[sys.argv.index("--name") + 1]
with open("ran", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
losses = pathlib.Path("losses").read_text().split()
loss = float(losses[int(name.split("-")[-1])])
try:
    for epoch in (1, 2, 3):
        print(f"    {{epoch}}  0.5000  0.5000  0.5000  {{loss:.4f}}  1.0", flush=True)
    if loss == 9:
        signal.pause()
except KeyboardInterrupt:
    pathlib.Path(name).write_text("interrupted")
    sys.exit(130)
sys.exit(loss < 0)
"""


@pytest.fixture
def dvc(tmp_path, monkeypatch):
    """A working folder with the made-up `dvc`; returns a function that sets the losses of its trials."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dvc").write_text(DVC)
    (tmp_path / "bin/dvc").chmod(0o755)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    known = {"seed": 1, "finetune.learning_rate": 0.1, "train_frozen.epochs": 0, "data": {"images": "data/mine"}}
    monkeypatch.setattr("dvc.api.params_show", lambda path, rev: known)
    monkeypatch.setattr(params, "read", lambda *_: params.Params(data=params.Data(images="data/mine")))
    monkeypatch.setattr(experiments, "commit", lambda: "1a2b3c")
    monkeypatch.setattr(experiments, "is_run", lambda revision: False)
    losses = tmp_path / "losses"
    monkeypatch.setattr(
        experiments, "validation", lambda name: {"val_loss": float(losses.read_text().split()[int(name[-1])])}
    )
    return lambda *values: losses.write_text(" ".join(map(str, values)))


def run(monkeypatch, *arguments):
    """Searches, and returns the arguments of all calls of `dvc` until now."""
    monkeypatch.setattr("sys.argv", ["search", "x", *arguments])
    search.main()
    with open("ran") as file:
        return file.read().splitlines()


def states():
    [study] = optuna.get_all_study_names("sqlite:///.dvc/tmp/search.db")
    trials = optuna.load_study(study_name=study, storage="sqlite:///.dvc/tmp/search.db").trials
    return [trial.state.name for trial in trials], [trial.value for trial in trials]


def test_every_trial_is_an_experiment_with_a_name(dvc, monkeypatch, capsys):
    dvc(0.5, 0.25)
    ran = run(monkeypatch, "finetune.learning_rate=1..1", "--trials", "2")
    assert ran == [f"exp run --temp --name x-trial-{number} -S finetune.learning_rate=1 plot" for number in (0, 1)]
    assert states() == (["COMPLETE"] * 2, [0.5, 0.25])
    assert "0.25" in capsys.readouterr().out


def test_a_trial_worse_than_the_median_is_interrupted(dvc, monkeypatch, tmp_path):
    dvc(0.1, 0.2, 0.3, 0.4, 0.5, 9, 0.1)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "7")
    assert states()[0] == ["COMPLETE"] * 5 + ["PRUNED", "COMPLETE"]
    assert (tmp_path / "x-trial-5").read_text() == "interrupted"


def test_a_search_goes_on_where_it_was_stopped(dvc, monkeypatch):
    dvc(0.1, 0.2, 0.3)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "2")
    ran = run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "3")
    assert [line.split()[4] for line in ran] == ["x-trial-0", "x-trial-1", "x-trial-2"]


def test_a_failed_trial_neither_ends_the_search_nor_counts(dvc, monkeypatch):
    dvc(0.1, -1, 0.3)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "3")
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "2")
    assert states() == (["COMPLETE", "FAIL", "COMPLETE"], [0.1, None, 0.3])


def test_ctrl_c_ends_the_search_with_the_table_of_finished_trials(dvc, monkeypatch, capsys):
    @contextlib.contextmanager
    def interrupted(name, changes):
        yield iter(())
        raise KeyboardInterrupt

    dvc(0.1, 0.2)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "1")
    monkeypatch.setattr(experiments, "run", interrupted)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "9")
    assert states()[0] == ["COMPLETE", "FAIL"] and "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["../pictures", "data/mine,~/pictures", "data/mine,../a"])
def test_images_that_copies_would_not_find_start_nothing(dvc, monkeypatch, tmp_path, path):
    with pytest.raises(UserError, match="Write /"):
        run(monkeypatch, f"data.images={path}")
    assert not (tmp_path / "ran").exists()


def test_an_unknown_parameter_starts_nothing(dvc, monkeypatch, tmp_path):
    with pytest.raises(
        UserError, match="finetune.learning_rat is not a parameter; did you mean finetune.learning_rate?"
    ):
        run(monkeypatch, "finetune.learning_rat=0.1..0.2")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("finetune.schedule=constant,Cosine", "finetune.schedule is 'Cosine', but must be one of constant, cosine."),
        ("finetune.fine_tune_at=100..160", "finetune.fine_tune_at is 160, but must be a whole number from 0 to 154."),
        ("finetune.learning_rate=0..0.1", "finetune.learning_rate is 0, but must be"),
        ("finetune.epochs=1.5..8", "finetune.epochs=1.5..8 must lie between whole numbers"),
        ("finetune.epochs=2.0..8.0", "finetune.epochs=2.0..8.0 must lie between whole numbers"),
        ("finetune=1..3", "finetune is a group of parameters; name one of them: finetune.epochs"),
    ],
)
def test_a_wrong_value_starts_nothing(dvc, monkeypatch, tmp_path, values, words):
    with pytest.raises(UserError, match=words):
        run(monkeypatch, "train.l2=1", values)
    assert not (tmp_path / "ran").exists()


def test_the_errors_of_a_failed_trial_are_shown(dvc, monkeypatch, capsys):
    dvc(-1)
    run(monkeypatch, "finetune.learning_rate=0.1..0.2", "--trials", "1")
    assert "-1.0000  1.0" in capsys.readouterr().err


COMMITTED = {"seed": 1, "train.l2": 1, "data.images": "data/mine", "finetune.epochs": 10}


@pytest.fixture
def conclude(monkeypatch):
    """Returns what the search says about a trial, of the given loss, accuracy and changes, and a run of the commit."""

    def describe(loss, accuracy, known=True, **changes):
        study = optuna.create_study()
        study.add_trials([optuna.trial.create_trial(value=value) for value in (9.0, loss)])
        found = {"HEAD": COMMITTED, "workspace": COMMITTED | {"train.l2": 3}, "x-trial-1": COMMITTED | changes}
        monkeypatch.setattr(experiments, "parameters", found.get)
        monkeypatch.setattr(experiments, "is_run", lambda revision: known)
        validation = {"HEAD": {"val_loss": 0.5, "val_accuracy": 0.75}}
        validation["x-trial-1"] = {"val_loss": loss, "val_accuracy": accuracy}
        monkeypatch.setattr(experiments, "validation", validation.get)
        monkeypatch.setattr(experiments, "counts", lambda name, split: {"a": 60, "b": 40})
        monkeypatch.setattr(experiments, "scores", None)  # test plays no part
        return search.describe(study, "x")

    return describe


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.75, "as many of the 100 validation images right: in accuracy, that is within noise"),
        (0.80, "5 images more of 100 right in validation: in accuracy, that is within noise"),
        (0.70, "5 images fewer of 100 right in validation: in accuracy, that is within noise"),
        (0.81, "6 images more of 100 right in validation: perhaps more than noise, but the best was chosen on"),
    ],
)
def test_the_best_trial_is_named_with_what_it_changes_and_gains(conclude, accuracy, words):
    said = conclude(0.25, accuracy, **{"finetune.epochs": 5})
    assert "The best trial is x-trial-1, with finetune.epochs 5 instead of 10." in said
    assert "Validation loss 0.25 against 0.5 of the committed settings" in said and words in said
    assert "`dvc exp apply x-trial-1`, then `dvc repro`" in said
    assert "python -m stages.tools.repeat_seeds committed finetune.epochs=10 train.l2=1\n" in said
    assert "python -m stages.tools.repeat_seeds best finetune.epochs=5 train.l2=1\n" in said


def test_committed_settings_that_are_better_are_kept(conclude):
    said = conclude(0.6, 0.9, **{"finetune.epochs": 5})
    assert said.endswith("loss is 0.6, and that of the committed settings is 0.5: keep them.") and "apply" not in said


@pytest.mark.parametrize("other", [{"known": False}, {"data.images": "b"}, {"seed": 2}])
def test_without_a_run_of_the_commit_on_these_images_nothing_is_compared(conclude, other):
    said = conclude(0.25, 0.9, **other)
    assert "the committed settings have no run on the same validation images" in said and "against" not in said


def test_without_a_finished_trial_nothing_is_advised():
    assert "nothing to apply" in search.describe(optuna.create_study(), "x")


def test_an_experiment_whose_reader_fails_is_interrupted(dvc, tmp_path):
    dvc(9)
    with pytest.raises(KeyboardInterrupt), experiments.run("x-trial-0", ["rate=1"]) as lines:
        assert [next(experiments.epochs(lines)) for _ in range(3)] == [(1, 9), (2, 9), (3, 9)]
        raise KeyboardInterrupt
    assert (tmp_path / "x-trial-0").read_text() == "interrupted"


def test_an_experiment_that_fails_is_a_user_error(dvc):
    dvc(-1)
    with pytest.raises(UserError, match="experiment x-trial-0 failed"), experiments.run("x-trial-0", []) as lines:
        list(lines)


def test_the_epochs_are_found_in_what_training_prints():
    row = {"epoch": 6, "accuracy": 0.9, "val_accuracy": 0.8, "loss": 0.2, "val_loss": 0.31}
    lines = ["Running stage 'finetune':", history.HEADER, history.format_epoch(row, 1.23), "accuracy 0.9"]
    assert list(experiments.epochs(f"{line}\n" for line in lines)) == [(6, 0.31)]


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ("60..140", optuna.distributions.IntDistribution(60, 140)),
        ("0.00001..0.001", optuna.distributions.FloatDistribution(1e-05, 1e-03, log=True)),
        ("1e-05..1e-03", optuna.distributions.FloatDistribution(1e-05, 1e-03, log=True)),
        ("0.5..0.1", optuna.distributions.FloatDistribution(0.1, 0.5)),
        ("none,horizontal", optuna.distributions.CategoricalDistribution(("none", "horizontal"))),
        ("../shared/images", optuna.distributions.CategoricalDistribution(("../shared/images",))),
        ("my (1),it's #2", optuna.distributions.CategoricalDistribution(("my (1)", "it's #2"))),
        ("'a,b',[x]", optuna.distributions.CategoricalDistribution(("a,b", "[x]"))),
        ("&x", optuna.distributions.CategoricalDistribution(("&x",))),
    ],
)
def test_values_are_ranges_or_choices(values, distribution):
    trial = optuna.create_study().ask()
    key, value = search.suggest(trial, "key", values).split("=")
    assert key == "key" and trial.distributions == {"key": distribution}
    assert value == str(trial.params["key"]) or float(value) == pytest.approx(trial.params["key"], rel=0.01)


@pytest.mark.parametrize("values", [".nan..1", "1...inf", "0..1e999", f"1..1{'0' * 400}", "a\nb,c"])
def test_odd_values_are_one_line(values):
    with pytest.raises(UserError, match=r"must lie between numbers up to 1e\+15|are no values A,B,C"):
        search.suggest(optuna.create_study().ask(), "key", values)


ALWAYS_PRUNED = """
import optuna
from stages.tools import search

optuna.pruners.MedianPruner = lambda **_: optuna.pruners.ThresholdPruner(upper=0)
search.main()
"""


@pytest.mark.slow
def test_a_pruned_trial_leaves_nothing_behind_and_another_is_an_experiment(
    small_run, grid_run, tmp_path, monkeypatch, capsys
):
    project = small_run.copy(tmp_path / "project")
    space = ("finetune.learning_rate=0.00001..0.00001", "finetune.fine_tune_at=18")
    before = project.run("git", "for-each-ref"), project.run("git", "status", "--porcelain")
    assert "Trial 0 pruned" in project.run("python", "-c", ALWAYS_PRUNED, "x", *space, "--trials", "1")
    assert (project.run("git", "for-each-ref"), project.run("git", "status", "--porcelain")) == before
    assert [path.name for path in (project.folder / ".dvc/tmp/exps/standalone").iterdir()] == ["run"]
    cache = project.folder / ".dvc/cache"
    shutil.rmtree(cache)
    shutil.copytree(grid_run.folder / ".dvc/cache", cache)  # so that the next trial takes its model from there
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr("sys.argv", ["search", "x", *space, "--trials", "2"])
    search.main()
    output = capsys.readouterr().out
    assert "PRUNED" in output and "COMPLETE" in output
    assert experiments.names() == ["x-trial-1"]
    monkeypatch.setattr("sys.argv", ["sweep", "finetune.learning_rate"])
    sweep.main()
    assert "accuracy" in capsys.readouterr().out


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """The file of a search with 30 trials."""
    monkeypatch.chdir(tmp_path)
    search.STORAGE.parent.mkdir(parents=True)
    study = optuna.create_study(storage=f"sqlite:///{search.STORAGE}", study_name="a")
    study.add_trials([optuna.trial.create_trial(value=float(number)) for number in range(30)])
    search.check_storage()
    return search.STORAGE


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data[:8192] + bytes(len(data) - 8192),
    ],
)
def test_a_damaged_file_of_trials_ends_in_one_line(storage, damage):
    storage.write_bytes(damage(storage.read_bytes()))
    with pytest.raises(UserError, match="^.dvc/tmp/search.db is damaged. Delete it and take another NAME: the exper"):
        search.check_storage()


def test_a_search_without_a_file_of_trials_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search.check_storage()
    assert list(tmp_path.iterdir()) == []
