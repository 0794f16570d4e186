"""Writes the report of a run, a web page, and the model card, and prints the answer of the run.

    python -m stages.report

Reads params.yaml, requirements.txt, and the metrics, tables and images of the other stages; writes plots/report.html,
one file that needs no network, and data/models/README.md, Markdown with YAML front matter as the model hubs read it.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from stages.charts import base
from stages.common import cli, files, params
from stages.common.cli import UserError
from stages.common.dataset import CLASSES, SPLITS
from stages.reporting import answer, facts, figures, formatting, model_card
from stages.reporting.verdict import judge

METRICS = {
    "classes": CLASSES,
    "split": "data/splits/summary.json",
    "scores": "data/evaluation/metrics.json",
    "class_scores": "data/evaluation/classes.json",
    "intervals": "data/evaluation/intervals.json",
    "audit": "data/audit/summary.json",
    "learning_curve": "data/audit/learning_curve.json",
    "export": "data/models/exported/comparison.json",
}
TABLES = {
    "history": "plots/history.csv",
    "predictions": "plots/predictions.csv",
    "unreadable": "data/splits/unreadable.csv",
    "bins": "data/evaluation/reliability.csv",
    "slices": "data/evaluation/slices.csv",
    "roc": "data/evaluation/curves/roc.csv",
    "precision_recall": "data/evaluation/curves/precision_recall.csv",
    "labels": "data/audit/labels.csv",
    **{f"{name}_manifest": f"data/splits/{name}/manifest.csv" for name in SPLITS},
}
ARRAYS = {
    "overview": "data/splits/overview.npz",
    "samples": "data/evaluation/samples.npz",
    "audit_samples": "data/audit/samples.npz",
}


def main() -> None:
    p = params.read(*params.Params.model_fields)
    run = read() | {"params": params.flatten(p.model_dump())}
    run |= facts.summarise(run)
    verdict = judge(run)
    with files.replacing(page="plots/report.html", card="data/models/README.md") as out:
        page = template().render(
            run, verdict=verdict, charts=figures.charts(run), galleries=figures.galleries(run), COLOURS=base.CSS
        )
        out.page.write_text(page, encoding="utf-8")
        out.card.write_text(model_card.render(run), encoding="utf-8")
    answer.show(run, verdict)


def read() -> dict[str, Any]:
    """Reads the outputs of the other stages by the templates' names: metrics as dicts, tables as DataFrames, arrays.

    Raises:
        UserError: one is missing.
    """
    try:
        run: dict[str, Any] = {key: files.read_json(path) for key, path in METRICS.items()}
        run["phases"] = {
            "frozen": files.read_json("data/training/train_frozen.json"),
            "finetuned": files.read_json("data/training/finetune.json"),
        }
        run |= {key: files.read_csv(path, errors="backslashreplace") for key, path in TABLES.items()}
        run |= {key: files.read_arrays(path) for key, path in ARRAYS.items()}
        run["augmentations"] = np.load("data/training/augmentations.npy")
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    packages = Path("requirements.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    names = [line.partition("==")[0] for line in packages if not line.startswith("#")]
    run["versions"] = {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
    return run


def template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "reporting"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= formatting.FILTERS | {"labelled": labelled}
    return environment.get_template("report.html.jinja")


def labelled(svg: str, text: str) -> Markup:
    """Returns an <svg> element with a text alternative."""
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(text)}"', 1))


if __name__ == "__main__":
    cli.run(main)
