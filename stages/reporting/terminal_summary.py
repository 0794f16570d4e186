"""The end of a run on the terminal: how good the model is, what changed since the last commit, what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text

from stages.common import files, params, terminal, yaml_file
from stages.common.cli import UserError, counted
from stages.common.dataset import SPLITS
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.reporting import formatting, last_commit
from stages.reporting.conclusions import Conclusions
from stages.reporting.last_commit import OtherTest
from stages.reporting.next_steps import Step
from stages.reporting.run import Metrics, Run
from stages.statistics import common_images

# What each file of metrics/ is about.
METRICS = {phase.model: phase.title.lower() for phase in (FINETUNE, TRAIN_FROZEN)} | {"export": "exported files"}
# Columns of predictions.csv with the class that each model predicts.
PREDICTED = {"predicted": FINETUNE.title.lower(), "frozen": TRAIN_FROZEN.title.lower()}
COLOURS = {"good": "green", "fair": "yellow", "guessing": "red"}
STEPS = 4  # maximum number of next steps


def show(run: Run, conclusions: Conclusions, steps: list[Step]) -> None:
    """Prints the end of a run; no changes where there is no git or no commit."""
    before = _committed_settings()
    changes = _changed(run)
    worse = [] if changes.worse is None else [terminal.paragraph(changes.worse, "bold yellow")]
    steps = [step for step in steps if not step.key or before.get(step.key) != step.value]
    settings: list[str | Text] = [*_changed_settings(before, run.settings)]
    if settings:
        back = Step("Go back to the settings of the last commit, and to their outputs.", go_back())
        steps = [back, *steps] if changes.worse else steps
        heading = "Settings that differ from the last commit"
        heading += "" if changes.worse else f"; `{back.command}` takes them back"
        settings = [Text(f"\n{heading}", "bold"), *settings]
    lines: list[str | Text | Table] = [
        "",
        terminal.paragraph(conclusions.headline, f"bold {COLOURS[conclusions.quality]}"),
        *worse,
        *([conclusions.doubted] if conclusions.doubted else []),
        f"The model is data/models/classifier. {conclusions.exported_model}",
        *changes.lines,
        *settings,
        Text("\nNext", "bold"),
    ]
    for number, step in enumerate(steps[:STEPS], 1):
        lines += [terminal.paragraph(step.reason, indent=f"  {number}. "), Text(f"     {step.command}", "cyan")]
    terminal.show(*lines, Text("\nThe report, for any browser: plots/report.html", "bold"))


def go_back() -> str:
    """Returns the command that restores the settings of the last commit and what it keeps of their outputs.

    Metrics and charts that DVC does not keep in its cache are kept in git.
    """
    kept = " ".join(
        path for path in ("params.yaml", "dvc.lock", "metrics", "plots") if last_commit.read(path) is not None
    )
    return f"git checkout HEAD {kept} && dvc checkout"


@dataclass(frozen=True)
class Changes:
    """What changed since the last commit: the lines of their section, and a sentence if the model is worse."""

    lines: list[str | Text | Table]
    worse: str | None = None


def _changed(run: Run) -> Changes:
    """Compares the metrics with those of the last commit; of other test images, only those that both splits share."""
    before = OtherTest.find()
    if before is None:
        return _changed_metrics()
    what = "The test split is another."
    if before.images_changed:
        counts = f": {before.total:,} then, {run.total:,} now" if before.total is not None else ""
        what = f"The images have changed{counts}."
    if before.predictions is None:
        return _section(f"{what} The metrics are of another test split, and cannot be compared.")
    now = run.predictions.assign(sha256=run.manifests[SPLITS.index("test")]["sha256"])
    both = common_images.merge(before.predictions, now, ("_before", ""))  # the labels are those of today
    if len(both) == len(before.predictions) == len(now) and both["actual_before"].equals(both["actual"]):
        return _changed_metrics()
    what += f" The test splits, of {len(before.predictions):,} images then and {len(now):,} now, share"
    if both.empty:
        return _section(f"{what} none, so the metrics cannot be compared.")
    relabelled = int((both["actual_before"] != both["actual"]).sum())
    what += f" {len(both):,}. On these alone"
    if len(both) == len(before.predictions) == len(now):
        what = (
            f"Of {counted(len(now), 'test image')}, {relabelled:,} {'has' if relabelled == 1 else 'have'} another label"
        )
    what += ", by the labels of today:" if relabelled else ":"
    rows, worse = [], None
    for column, model in PREDICTED.items():
        right = [int((both[name] == both["actual"]).sum()) for name in (f"{column}_before", column)]
        accuracies = [count / len(both) for count in right]
        if column == "predicted":
            worse = describe_worse({"accuracy": accuracies})
        texts = map(formatting.number, accuracies)
        rows.append({"  model": f"  {model}", "accuracy": " -> ".join(texts), "right": f"{right[0]} -> {right[1]}"})
    return Changes([*_section(what).lines, terminal.table(pd.DataFrame(rows))], worse)


def describe_worse(metrics: Mapping[str, Sequence[float]]) -> str | None:
    """Says by how much the exported model's metrics, each before and now, are worse than at the last commit.

    Returns None if neither the accuracy fell nor the loss rose, as far as the texts of both values differ.
    """
    texts, falls = [], {"accuracy": True, "loss": False}
    worse = []
    for name, (before, now) in metrics.items():
        form = formatting.percent if name == "accuracy" else formatting.number
        if form(before) == form(now):
            continue
        difference = abs(now - before)
        size = f"{formatting.points(difference)} points" if name == "accuracy" else formatting.number(difference)
        texts.append(f"the {name} {'fell' if now < before else 'rose'} by {size}, from {form(before)} to {form(now)}")
        worse.append((now < before) == falls[name])
    if not any(worse):
        return None
    return f"{'Worse' if all(worse) else 'Worse in part'} than the last commit: {'; '.join(texts)}."


def _section(text: str) -> Changes:
    return Changes([Text("\nChanged since the last commit", "bold"), terminal.paragraph(text, indent="  ")])


def _changed_metrics() -> Changes:
    """Compares metrics/*.json with those of the last commit: a line for each model of which a metric differs."""
    rows, compared, worse = [], False, None
    for name, model in METRICS.items():
        path = Path(f"metrics/{name}.json")
        committed = last_commit.read(path)
        if committed is None or not path.exists():
            continue
        try:
            before, now = TypeAdapter(Metrics).validate_json(committed), files.read_json(path)
        except ValidationError:  # committed with the marks of a conflict, for example
            continue
        shared = [metric for metric in now if metric in before and metric != "kept_epoch"]
        if name == FINETUNE.model:
            worse = describe_worse({x: [before[x], now[x]] for x in ("loss", "accuracy") if x in shared})
        pairs = {metric: [formatting.number(before[metric]), formatting.number(now[metric])] for metric in shared}
        compared = compared or bool(pairs)
        changed = {metric: " -> ".join(pair) for metric, pair in pairs.items() if pair[0] != pair[1]}
        if changed:
            rows.append({"  model": f"  {model}"} | changed)
    if rows:
        heading = Text("\nChanged since the last commit", "bold")
        return Changes([heading, terminal.table(pd.DataFrame(rows))], worse)
    same = [Text("\nThe metrics are those of the last commit, to three decimals.")]
    return Changes([*same] if compared else [])


def _committed_settings() -> dict[str, Any]:
    """Returns the parameters of the last commit by their dotted keys; none if it has no such params.yaml."""
    try:
        tree = yaml_file.parse((last_commit.read("params.yaml") or "").encode(), "params.yaml")
        committed = params.Params.model_validate(tree)
    except (ValidationError, UserError):
        return {}
    return params.flatten(committed.model_dump())


def _changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names the parameters that differ from those of the last commit, a line each."""
    return [
        f"  {key}: {formatting.setting(before[key])} -> {formatting.setting(value)}"
        for key, value in now.items()
        if before.get(key, value) != value
    ]
