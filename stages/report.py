"""Writes the report of a run, a web page, and the model card.

    python -m stages.report

Reads params.yaml, requirements.txt, and the metrics, tables and charts of the other stages; writes plots/report.html,
one file that needs no network, and data/models/README.md, Markdown with YAML front matter as the model hubs read it.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import base64
import importlib.metadata
import io
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from stages.common import cli, files, params
from stages.common.cli import UserError
from stages.reporting import facts, formatting, model_card

CHARTS = [
    "overview/train",
    "overview/validation",
    "overview/test",
    "overview/sizes",
    "history",
    "augmentations",
    "confusion",
    "curves",
    "reliability",
    "predictions",
    "mistakes",
    "uncertain",
    "gradcam",
    "label_audit",
]


def main() -> None:
    p = params.read(*params.Params.model_fields)
    try:
        run = read()
        with ThreadPoolExecutor() as pool:  # Pillow encodes without Python's lock
            charts = dict(zip(CHARTS, pool.map(embed, (f"plots/{name}.png" for name in CHARTS)), strict=True))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    run |= facts.summarise(run) | {"params": params.flatten(p.model_dump())}
    with files.replacing(page="plots/report.html", card="data/models/README.md") as out:
        page = template().render(run, charts=charts)
        out.page.write_text(page, encoding="utf-8")
        out.card.write_text(model_card.render(run), encoding="utf-8")
    print(f"plots/report.html ({len(page) / 1e6:.1f} MB) opens in any browser; data/models/README.md is the model card")


def read() -> dict[str, Any]:
    """Reads the outputs of the other stages: metrics as dicts, tables as DataFrames, by the templates' names."""
    metrics = {
        "classes": "data/splits/classes.json",
        "split": "metrics/split.json",
        "scores": "metrics/evaluate.json",
        "class_scores": "metrics/classes.json",
        "intervals": "data/evaluation/intervals.json",
        "audit": "metrics/audit.json",
        "export": "metrics/export.json",
    }
    run = {key: files.read_json(path) for key, path in metrics.items()}
    run["phases"] = {
        "frozen": files.read_json("metrics/train_frozen.json"),
        "finetuned": files.read_json("metrics/finetune.json"),
    }
    tables = {
        "epochs": "plots/history.csv",
        "predictions": "plots/predictions.csv",
        "unreadable": "data/splits/unreadable.csv",
        "reliability": "data/evaluation/reliability.csv",
        "labels": "data/audit/labels.csv",
    }
    for key, path in tables.items():
        run[key] = files.read_csv(path, errors="backslashreplace")
    packages = Path("requirements.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    names = [line.partition("==")[0] for line in packages if not line.startswith("#")]
    run["versions"] = {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
    return run


def embed(path: str) -> dict[str, Any]:
    """Returns a PNG as a data: URI, with its file, width and height in pixels and width in inches.

    It is re-encoded as WebP, a tenth of the size of a PNG that shows photographs.
    """
    with Image.open(path) as chart:
        image, inches = chart.convert("RGB"), round(chart.width / chart.info["dpi"][0], 1)
    image.thumbnail((16_383, 16_383))  # the largest that WebP can hold
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=85)
    source = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return {"file": path, "source": source, "width": image.width, "height": image.height, "inches": inches}


def template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "reporting"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= formatting.FILTERS
    return environment.get_template("report.html.jinja")


if __name__ == "__main__":
    cli.run(main)
