"""Joins the histories of both phases and draws the pictures of a run.

    python -m stages.plot

Reads data/training, data/splits/classes.json, data/splits/overview.npz, plots/predictions.csv and
data/evaluation/samples.npz; writes plots/history.csv and, as PNG, plots/history.png, plots/augmentations.png,
plots/predictions.png and plots/overview/*.png.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common import charts, command, history
from stages.common.command import UserError
from stages.common.partition import SPLITS


def main():
    try:
        epochs = pd.concat(history.read(f"data/training/{phase}.csv") for phase in ("frozen", "finetuned"))
        augmentations = np.load("data/training/augmentations.npy")
        predictions = pd.read_csv("plots/predictions.csv", keep_default_na=False, dtype={"actual": str, "predicted": str})
        with np.load("data/evaluation/samples.npz") as samples:
            rows, pixels = samples["rows"], samples["pixels"]
        with np.load("data/splits/overview.npz") as arrays:
            overview = dict(arrays)
        classes = json.loads(Path("data/splits/classes.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    with command.replacing(
        "plots/history.csv", "plots/history.png", "plots/augmentations.png", "plots/predictions.png", "plots/overview"
    ) as (history_csv, history_png, augmentations_png, predictions_png, overview_folder):
        epochs.to_csv(history_csv, index=False)
        charts.save(charts.history(epochs), history_png)
        charts.save(charts.grid(augmentations, [""] * len(augmentations), "One training picture, as training sees it"),
                    augmentations_png)
        charts.save(charts.predictions(pixels, predictions.iloc[rows]), predictions_png)
        overview_folder.mkdir()
        for name in SPLITS:
            sheet = charts.contact_sheet(overview[name], classes, f"Some pictures of the {name} split")
            charts.save(sheet, overview_folder / f"{name}.png")
        charts.save(charts.sizes(overview["sizes"], overview["labels"], classes), overview_folder / "sizes.png")


if __name__ == "__main__":
    command.run(main)
