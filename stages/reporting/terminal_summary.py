"""The end of a run on the terminal: how good the model is, what changed since the last commit, what to do next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text

from stages.common import files, params, terminal, yaml_file
from stages.common.cli import UserError
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
STEPS = 3  # maximum number of next steps


def show(run: Run, conclusions: Conclusions, steps: list[Step]) -> None:
    """Prints the end of a run; no changes where there is no git or no commit."""
    lines: list[str | Text | Table] = [
        "",
        terminal.paragraph(conclusions.headline, f"bold {COLOURS[conclusions.quality]}"),
        f"The model is data/models/classifier. {conclusions.exported_model}",
        *_changed(run),
        *_changed_settings(run.settings),
        Text("\nNext", "bold"),
    ]
    for number, step in enumerate(steps[:STEPS], 1):
        lines += [terminal.paragraph(step.reason, indent=f"  {number}. "), Text(f"     {step.command}", "cyan")]
    terminal.show(*lines, Text("\nThe report, for any browser: plots/report.html", "bold"))


def _changed(run: Run) -> list[str | Text | Table]:
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
    rows = []
    for column, model in PREDICTED.items():
        right = [int((both[name] == both["actual"]).sum()) for name in (f"{column}_before", column)]
        accuracies = [formatting.number(count / len(both)) for count in right]
        rows.append(
            {"  model": f"  {model}", "accuracy": " -> ".join(accuracies), "right": f"{right[0]} -> {right[1]}"}
        )
    return [*_section(f"{what} {len(both):,}. On these alone:"), terminal.table(pd.DataFrame(rows))]


def _section(text: str) -> list[str | Text | Table]:
    return [Text("\nChanged since the last commit", "bold"), terminal.paragraph(text, indent="  ")]


def _changed_metrics() -> list[str | Text | Table]:
    """Compares metrics/*.json with those of the last commit: a line for each model of which a metric differs."""
    rows, compared = [], False
    for name, model in METRICS.items():
        path = Path(f"metrics/{name}.json")
        committed = last_commit.read(path)
        if committed is None or not path.exists():
            continue
        try:
            before, now = TypeAdapter(Metrics).validate_json(committed), files.read_json(path)
        except ValidationError:  # committed with the marks of a conflict, for example
            continue
        shared = [metric for metric in now if metric in before and metric != "best_epoch"]
        pairs = {metric: [formatting.number(before[metric]), formatting.number(now[metric])] for metric in shared}
        compared = compared or bool(pairs)
        changed = {metric: " -> ".join(pair) for metric, pair in pairs.items() if pair[0] != pair[1]}
        if changed:
            rows.append({"  model": f"  {model}"} | changed)
    if rows:
        return [Text("\nChanged since the last commit", "bold"), terminal.table(pd.DataFrame(rows))]
    return [Text("\nThe metrics are those of the last commit, to three decimals.")] if compared else []


def _changed_settings(now: Mapping[str, Any]) -> list[str | Text | Table]:
    """Names the parameters that differ from those of the last commit, which has the same keys."""
    try:
        tree = yaml_file.parse((last_commit.read("params.yaml") or "").encode(), "params.yaml")
        committed = params.Params.model_validate(tree)
    except (ValidationError, UserError):
        return []
    before = params.flatten(committed.model_dump())
    changed = [
        f"  {key}: {formatting.setting(before[key])} -> {formatting.setting(value)}"
        for key, value in now.items()
        if before.get(key, value) != value
    ]
    heading = "\nSettings that differ from the last commit; `git checkout params.yaml` takes them back"
    return [Text(heading, "bold"), *changed] if changed else []
