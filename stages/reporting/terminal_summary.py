"""The end of a run on the terminal: how good the model is, what changed since the last commit, what to do next."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from stages.common import files, params, terminal
from stages.common.phases import FINETUNE, TRAIN_FROZEN
from stages.reporting import formatting
from stages.reporting.conclusions import Conclusions
from stages.reporting.next_steps import Step

# What each file of metrics/ is about.
METRICS = {phase.model: phase.title.lower() for phase in (FINETUNE, TRAIN_FROZEN)} | {"export": "exported files"}
COLOURS = {"good": "green", "fair": "yellow", "guessing": "red"}
STEPS = 3  # maximum number of next steps


def show(settings: Mapping[str, Any], conclusions: Conclusions, steps: list[Step]) -> None:
    """Prints the end of a run with these parameters, by dotted keys; no changes where there is no git or no commit."""
    lines: list[str | Text | Table] = [
        "",
        terminal.paragraph(conclusions.headline, f"bold {COLOURS[conclusions.quality]}"),
        f"The model is data/models/classifier. {conclusions.exported_model}",
        *_changed_metrics(),
        *_changed_settings(settings),
        Text("\nNext", "bold"),
    ]
    for number, step in enumerate(steps[:STEPS], 1):
        lines += [terminal.paragraph(step.reason, indent=f"  {number}. "), Text(f"     {step.command}", "cyan")]
    terminal.show(*lines, Text("\nThe report, for any browser: plots/report.html", "bold"))


def _changed_metrics() -> list[str | Text | Table]:
    """Compares metrics/*.json with those of the last commit: a line for each model of which a metric differs."""
    rows, compared = [], False
    for name, model in METRICS.items():
        path = Path(f"metrics/{name}.json")
        committed = _committed(path)
        if committed is None or not path.exists():
            continue
        before, now = json.loads(committed), files.read_json(path)
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
        committed = params.Params.model_validate(yaml.safe_load(_committed(Path("params.yaml")) or ""))
    except (ValidationError, yaml.YAMLError):
        return []
    before = params.flatten(committed.model_dump())
    changed = [
        f"  {key}: {formatting.setting(before[key])} -> {formatting.setting(value)}"
        for key, value in now.items()
        if before.get(key, value) != value
    ]
    heading = "\nSettings that differ from the last commit; `git checkout params.yaml` takes them back"
    return [Text(heading, "bold"), *changed] if changed else []


def _committed(path: Path) -> str | None:
    """Returns a file of the last commit, or None where there is no git, no commit or no such file."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{path}"], capture_output=True, encoding="utf-8")
    except OSError:
        return None
    return None if shown.returncode else shown.stdout
