"""Writes the page to look at after a run, and the model card.

    python -m stages.report

Reads params.yaml, requirements.txt, and what the other stages measured and drew; writes plots/report.html, one file that
needs no network, and data/models/README.md, Markdown with YAML front matter as the model hubs read it.
"""

import base64
import importlib.metadata
import io
import json
import math
import platform
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from stages.common import card, command, params, wording
from stages.common.command import UserError
from stages.common.partition import SPLITS

PICTURES = ["overview/train", "overview/validation", "overview/test", "overview/sizes", "history", "augmentations",
            "confusion", "curves", "reliability", "predictions", "mistakes", "uncertain", "gradcam", "label_audit"]
CHANCE = 0.05  # the usual level
LISTED, DOUBTFUL, LONGEST = 12, 20, 200  # rows of the uncertain, of doubtful labels, and of any other list of pictures


def main():
    p = params.read(*params.PARAMS)
    try:
        run = read()
        images = {name: embed(f"plots/{name}.png") for name in PICTURES}
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    run |= summarise(run) | {"params": p}
    with command.replacing("plots/report.html", "data/models/README.md") as (page_file, card_file):
        page = template().render(run, images=images)
        page_file.write_text(page, encoding="utf-8", errors="backslashreplace")
        card_file.write_text(card.render(run), encoding="utf-8", errors="backslashreplace")
    print(f"plots/report.html ({len(page) / 1e6:.1f} MB) opens in any browser; data/models/README.md is the model card")


def read():
    """Returns the tables, as DataFrames, and numbers that other stages left, by their names in the templates."""
    files = {"classes": "data/splits/classes.json", "split": "metrics/split.json", "scores": "metrics/evaluate.json",
             "class_scores": "metrics/classes.json", "intervals": "data/evaluation/intervals.json",
             "audit": "metrics/audit.json", "export": "metrics/export.json"}
    run = {key: json.loads(Path(path).read_text(encoding="utf-8")) for key, path in files.items()}
    run["phases"] = {phase: json.loads(Path(f"metrics/{stage}.json").read_text(encoding="utf-8"))
                     for phase, stage in (("frozen", "train_frozen"), ("finetuned", "finetune"))}
    tables = {"epochs": "plots/history.csv", "predictions": "plots/predictions.csv", "unreadable": "data/splits/unreadable.csv",
              "reliability": "data/evaluation/reliability.csv", "labels": "data/audit/labels.csv"}
    texts = dict.fromkeys(["path", "actual", "predicted", "frozen", "given", "suggested"], str)  # a class may be "NA" or "007"
    for key, path in tables.items():
        run[key] = pd.read_csv(path, keep_default_na=False, dtype=texts, encoding_errors="backslashreplace")
    packages = Path("requirements.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    names = [line.partition("==")[0] for line in packages if not line.startswith("#")]
    run["versions"] = {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
    return run


def embed(path):
    """Returns a PNG as a data: URI, with its file, width and height in pixels and width in inches.

    It is re-encoded as WebP, which takes a tenth of a PNG that shows photographs, and holds up to 16,383 pixels a side.
    """
    with Image.open(path) as image:
        picture, inches, webp = image.convert("RGB"), round(image.width / image.info["dpi"][0], 1), io.BytesIO()
    picture.thumbnail((16_383, 16_383))
    picture.save(webp, "WEBP", quality=85)
    source = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return {"file": path, "source": source, "width": picture.width, "height": picture.height,
            "inches": inches}


def summarise(run):
    """Returns what both templates say in words or in tables, counted from what `read` returned."""
    predictions, split, changed = run["predictions"], run["split"], run["scores"]["changed"]
    counts = {name: split[name] for name in SPLITS}
    right = predictions["actual"] == predictions["predicted"]
    before = predictions["actual"] == predictions["frozen"]
    wrong = predictions[~right].sort_values("probability", ascending=False, kind="stable")
    confusions = wrong.groupby(["actual", "predicted"]).size().reset_index(name="pictures")
    confusions["of"] = confusions["actual"].map(counts["test"])
    class_scores, bounds = run["class_scores"]["finetuned"]["classes"], run["intervals"]
    numbers = {key: words for key, words in card.METRICS.items() if key in run["scores"]["finetuned"]}
    return {
        "counts": counts,
        "totals": {name: sum(numbers.values()) for name, numbers in counts.items()},
        "commonest": max(run["classes"], key=counts["test"].get),
        "smallest_first": sorted(run["classes"], key=lambda name: sum(part[name] for part in counts.values())),
        "worst_first": sorted(run["classes"], key=lambda name: class_scores[name]["f1"]),
        "metrics": numbers,
        "axes": {"metrics": axis(bounds[model][key][0] for model in bounds for key in numbers if key != "loss"),
                 "classes": axis(row["f1"][0] for row in bounds["finetuned"]["classes"].values())},
        "right": int(right.sum()),
        "changed": changed,
        "chance": changed["p"] >= CHANCE,
        "moved": rows(predictions[right != before], LONGEST),
        "confusions": rows(confusions.sort_values("pictures", ascending=False, kind="stable"), LONGEST),
        "mistake_count": len(wrong),
        "mistakes": rows(wrong, LONGEST),
        "uncertain": rows(predictions.sort_values("margin", kind="stable"), LISTED),
        "doubtful": rows(run["labels"], DOUBTFUL),
        "unreadable": rows(run["unreadable"], LONGEST),
        "epochs": rows(run["epochs"]),
        "reliability": rows(run["reliability"][run["reliability"]["model"] == "finetuned"]),
        "smallest": min(run["export"], key=lambda key: run["export"][key]["megabytes"]),
        "EXPORTS": card.EXPORTS,
        "usage": card.USAGE,
    }


def axis(values):
    """Returns where an axis up to 1 starts that has room for all values: a tenth."""
    return min(math.floor(min(values) * 10), 9) / 10


def rows(table, most=None):
    """Returns the first rows of a DataFrame as dicts."""
    return table[:most].to_dict("records")


def template():
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    environment.filters |= wording.FILTERS
    return environment.get_template("report.html.jinja")


if __name__ == "__main__":
    command.run(main)
