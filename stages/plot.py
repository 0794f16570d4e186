"""Joins the histories of both phases and draws all charts of a run.

    python -m stages.plot

Reads data/training, data/splits/classes.json, data/splits/overview.npz, plots/predictions.csv and data/evaluation;
writes plots/history.csv and, as PNG, plots/history.png, plots/augmentations.png, plots/overview/*.png and, of the test
split, plots/{predictions,mistakes,uncertain,gradcam,confusion,curves,reliability}.png.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.charts import (
    base,
    dataset as dataset_charts,
    history as history_charts,
    metrics as metric_charts,
    predictions as prediction_charts,
)
from stages.common import cli, files, history
from stages.common.cli import UserError
from stages.common.dataset import CLASSES, SPLITS


@base.style()
def main() -> None:
    try:
        epochs = pd.concat(history.read(f"data/training/{stage}.csv") for stage in ("train_frozen", "finetune"))
        augmentations = np.load("data/training/augmentations.npy")
        classes = files.read_json(CLASSES)
        overview = files.read_arrays("data/splits/overview.npz")
        samples = files.read_arrays("data/evaluation/samples.npz")
        predictions = files.read_csv("plots/predictions.csv")
        reliability = files.read_csv("data/evaluation/reliability.csv")
        roc = files.read_csv("data/evaluation/curves/roc.csv")
        precision_recall = files.read_csv("data/evaluation/curves/precision_recall.csv")
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    confusion = metric_charts.confusion_matrix(predictions["actual"], predictions["predicted"], classes)
    confusion.suptitle("Confusion matrix of the fine-tuned model on the test split", fontsize=base.TEXT)
    figures = {
        "history": history_charts.both(epochs),
        "augmentations": draw_augmentations(augmentations, overview),
        **draw_images(samples, predictions),
        "confusion": confusion,
        "curves": metric_charts.curves(roc, precision_recall),
        "reliability": metric_charts.reliability(reliability),
    }
    with files.replacing(
        table="plots/history.csv", overview="plots/overview", **{name: f"plots/{name}.png" for name in figures}
    ) as out:
        files.write_csv(epochs, out.table)
        out.overview.mkdir()
        for name, figure in draw_overview(overview, classes).items():
            base.save(figure, out.overview / f"{name}.png")
        for name, figure in figures.items():
            base.save(figure, getattr(out, name))


def draw_augmentations(augmentations: np.ndarray, overview: dict[str, np.ndarray]) -> Figure:
    """Returns a figure of the augmentations of the first training image, uint8 [N, size, size, 3]."""
    sizes = np.tile(overview["train_sizes"][0, 0], (len(augmentations), 1))
    return base.grid(augmentations, [""] * len(augmentations), "Augmentations of one training image", sizes=sizes)


def draw_overview(overview: dict[str, np.ndarray], classes: list[str]) -> dict[str, Figure]:
    """Returns a figure for each split, and one of the sizes of the images, by their names."""
    figures = {
        name: dataset_charts.contact_sheet(
            overview[name], overview[f"{name}_sizes"], classes, f"Sample images of the {name} split"
        )
        for name in SPLITS
    }
    figures["sizes"] = dataset_charts.sizes(overview["sizes"], overview["labels"], classes)
    figures["sizes"].suptitle(f"Original sizes of {len(overview['sizes'])} images")
    return figures


def draw_images(samples: dict[str, np.ndarray], predictions: pd.DataFrame) -> dict[str, Figure]:
    """Returns the four figures that show test images: predictions, mistakes, uncertain ones and Grad-CAM.

    Args:
        samples: what examples.save writes.
        predictions: table of all test images.
    """
    sheets = {
        sheet: (samples[f"{sheet}_pixels"], samples[f"{sheet}_sizes"], samples[f"{sheet}_rows"])
        for sheet in ("samples", "mistakes", "uncertain", "gradcam")
    }
    pixels, sizes, rows = sheets["samples"]
    gradcam_pixels, gradcam_sizes, gradcam_rows = sheets["gradcam"]
    return {
        "predictions": prediction_charts.predictions(pixels, sizes, predictions.iloc[rows]),
        "mistakes": prediction_charts.by_class(*sheets["mistakes"], predictions, "The most confident mistakes"),
        "uncertain": prediction_charts.by_class(*sheets["uncertain"], predictions, "The least certain predictions"),
        "gradcam": prediction_charts.gradcam(
            gradcam_pixels, gradcam_sizes, samples["gradcam_maps"], predictions.iloc[gradcam_rows]
        ),
    }


if __name__ == "__main__":
    cli.run(main)
