"""Joins the histories of both phases and draws the pictures of a run.

    python -m stages.plot

Reads data/training, data/splits/classes.json, data/splits/overview.npz, plots/predictions.csv and data/evaluation; writes
plots/history.csv and, as PNG, plots/history.png, plots/augmentations.png, plots/overview/*.png and, of the fine-tuned model on
the test split, plots/{predictions,mistakes,uncertain,gradcam,confusion,curves,reliability}.png.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from stages.charts import base as charts, metrics as metric_charts, predictions as prediction_charts
from stages.common import files, cli
from stages.training import history
from stages.common.cli import UserError
from stages.common.dataset import SPLITS

CHARTS = ["history", "augmentations", "predictions", "mistakes", "uncertain", "gradcam", "confusion", "curves", "reliability"]


def main():
    try:
        epochs = pd.concat(history.read(f"data/training/{phase}.csv") for phase in ("frozen", "finetuned"))
        augmentations = np.load("data/training/augmentations.npy")
        classes = json.loads(Path("data/splits/classes.json").read_text(encoding="utf-8"))
        overview = read_arrays("data/splits/overview.npz")
        samples = read_arrays("data/evaluation/samples.npz")
        predictions = read_table("plots/predictions.csv")
        reliability = read_table("data/evaluation/reliability.csv")
        roc, precision_recall = (read_table(f"data/evaluation/curves/{name}.csv") for name in ("roc", "precision_recall"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    with files.replacing("plots/history.csv", "plots/overview", *(f"plots/{name}.png" for name in CHARTS)) as (
        history_csv, overview_folder, *files
    ):
        epochs.to_csv(history_csv, index=False)
        overview_folder.mkdir()
        for name, figure in draw_overview(overview, classes).items():
            charts.save(figure, overview_folder / f"{name}.png")
        figures = [
            charts.history(epochs),
            charts.grid(augmentations, [""] * len(augmentations), "One training picture, as training sees it"),
            *draw_pictures(samples, predictions),
            metric_charts.confusion(predictions["actual"], predictions["predicted"], classes),
            metric_charts.curves(roc, precision_recall),
            metric_charts.reliability(reliability),
        ]
        for figure, file in zip(figures, files, strict=True):
            charts.save(figure, file)


def read_arrays(path):
    with np.load(path) as arrays:
        return dict(arrays)


def read_table(path):
    """Reads a CSV file in which a class may be called "NA" or "007": no guessing of missing values or types."""
    return pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(["class", "actual", "predicted", "path"], str))


def draw_overview(overview, classes):
    """Returns a figure for each split, and one of the pictures' sizes, as a dict from their names."""
    sheets = {name: charts.contact_sheet(overview[name], classes, f"Some pictures of the {name} split") for name in SPLITS}
    return {**sheets, "sizes": charts.sizes(overview["sizes"], overview["labels"], classes)}


def draw_pictures(samples, predictions):
    """Returns the four figures that show test pictures: samples, mistakes, uncertain ones and Grad-CAM.

    Args:
        samples: dict of arrays, as explain.save writes them.
        predictions: table of all test pictures.
    """
    return [
        prediction_charts.predictions(samples["samples_pixels"], predictions.iloc[samples["samples_rows"]]),
        prediction_charts.by_class(samples["mistakes_pixels"], samples["mistakes_rows"], predictions,
                                "The most confident mistakes"),
        prediction_charts.by_class(samples["uncertain_pixels"], samples["uncertain_rows"], predictions,
                                "The least certain predictions"),
        prediction_charts.gradcam(samples["gradcam_pixels"], samples["gradcam_maps"],
                               predictions.iloc[samples["gradcam_rows"]]),
    ]


if __name__ == "__main__":
    cli.run(main)
