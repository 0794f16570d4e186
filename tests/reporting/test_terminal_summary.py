import json
import subprocess

import pytest

from stages.common import params
from stages.reporting import terminal_summary
from stages.reporting.conclusions import Conclusions
from stages.reporting.next_steps import Step
from tests.support import environment

CONCLUSIONS = Conclusions("good", "Good: 97.5% are right.", "The fine-tuned model is exported.", False, "", "", "int8")
LOOK = Step("Look at 7 labels.", "head -n 20 data/audit/labels.csv")
STEPS = [LOOK, Step("A.", "run " * 40), Step("B.", "b"), Step("Never.", "never")]


def write_metrics(folder, accuracy, agreement):
    (folder / "metrics").mkdir(exist_ok=True)
    for name, values in {
        "finetuned": {"accuracy": accuracy, "loss": 0.2, "best_epoch": round(100 * accuracy)},
        "frozen": {"accuracy": 0.5, "loss": 0.7, "best_epoch": 5},
        "export": {"agreement": agreement},
    }.items():
        (folder / f"metrics/{name}.json").write_text(json.dumps(values))


@pytest.fixture
def show(workplace, capsys):
    """A function that shows the end of a run, in a working folder with the default parameters and metrics."""
    write_metrics(workplace.folder, 0.95, 0.99)

    def show(**changes):
        now = params.flatten(params.read(*params.Params.model_fields).model_dump())
        settings = now | {name.replace("__", "."): value for name, value in changes.items()}
        terminal_summary.show(settings, CONCLUSIONS, STEPS)
        return capsys.readouterr().out

    return show


@pytest.fixture
def committed(workplace, show):
    workplace.run("git", "init", "-q")
    workplace.commit()
    return workplace.folder


def test_says_which_model_how_good_it_is_what_to_do_and_where_the_report_is(show):
    lines = [line.rstrip() for line in show().splitlines()]
    assert lines == [
        "",
        "Good: 97.5% are right.",
        "The model is data/models/classifier. The fine-tuned model is exported.",
        "",
        "Next",
        "  1. Look at 7 labels.",
        "     head -n 20 data/audit/labels.csv",
        "  2. A.",
        f"     {'run ' * 40}".rstrip(),  # one line, to be copied
        "  3. B.",
        "     b",
        "",
        "The report, for any browser: plots/report.html",
    ]


def test_names_metrics_and_settings_that_differ_from_the_last_commit(committed, show):
    assert "The metrics are those of the last commit, to three decimals." in show()
    assert "Settings" not in show()
    write_metrics(committed, 0.9501, 0.99)
    assert "The metrics are those of the last commit, to three decimals." in show()
    write_metrics(committed, 0.975, 0.98)
    said = show(finetune__learning_rate=0.00001, evaluate__min_metrics={"accuracy": 0.9})
    [header, finetuned, export] = said.split("Changed since the last commit\n")[1].split("\n\n")[0].splitlines()
    assert header.split() == ["model", "accuracy", "agreement"]
    assert finetuned.split() == ["fine-tuned", "0.950", "->", "0.975"]
    assert export.split() == ["exported", "files", "0.990", "->", "0.980"]
    assert "`git checkout params.yaml`" in said
    assert "  finetune.learning_rate: auto -> 0.00001\n" in said
    assert "  evaluate.min_metrics: accuracy: 0 -> accuracy: 0.9\n" in said
    assert said.count(" -> ") == 4


def test_is_the_same_below_the_root_of_the_repository(workplace, committed, show, monkeypatch):
    (committed / "below").mkdir()
    for name in ("params.yaml", "metrics"):
        (committed / name).rename(committed / "below" / name)
    workplace.commit()
    monkeypatch.chdir(committed / "below")
    assert "The metrics are those of the last commit, to three decimals." in show()


@pytest.mark.parametrize("missing", ["git", "commit", "files", "metrics"])
def test_is_silent_on_what_git_cannot_tell(missing, workplace, show, monkeypatch):
    if missing == "git":
        monkeypatch.setenv("PATH", "")
    else:
        subprocess.run(["git", "init", "-q"], check=True, env=environment())
    if missing == "metrics":  # of a version that had others
        (workplace.folder / "metrics/export.json").write_text('{"int8": {"agreement": 1}}')
        workplace.run("git", "add", "metrics/export.json")
        write_metrics(workplace.folder, 0.95, 0.99)
    if missing in ("files", "metrics"):
        workplace.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm", "x")
    said = show(seed=1)
    assert "last commit" not in said and "plots/report.html" in said


def test_is_silent_on_settings_of_another_version(committed, show):
    (committed / "params.yaml").write_text("old: 1\n")
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "old"], check=True, env=environment()
    )
    subprocess.run(["git", "checkout", "-q", "HEAD~1", "params.yaml"], check=True, env=environment())
    said = show(seed=1)
    assert "Settings" not in said and "The metrics are those of the last commit, to three decimals." in said
