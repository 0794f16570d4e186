"""Joins the histories of both phases and draws all charts of a run.

    python -m stages.plot

Reads data/training, data/splits/classes.json, data/splits/overview.npz, plots/predictions.csv and data/evaluation;
writes plots/history.csv; plots/confusion.csv, from which DVC draws the confusion matrix; and, as PNG,
plots/history.png, plots/augmentations.png, plots/overview/*.png and, of the test split,
plots/{predictions,mistakes,uncertain,gradcam,confusion,curves,reliability}.png.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.charts import base, dataset, history, metrics, predictions
from stages.common import cli, files, history as training_history, params, result_tables
from stages.common.cli import UserError
from stages.common.dataset import CLASSES, SPLITS
from stages.common.phases import FINETUNE, PHASES, TRAIN_FROZEN

MARKS = "[<{]"  # beginnings of tags and placeholders, which DVC's page would take for its own


@base.style()
def main() -> None:
    p = params.read("train_frozen", "finetune")
    try:
        epochs = pd.concat(training_history.read(phase.history) for phase in PHASES)
        augmentations = files.read_array("data/training/augmentations.npy")
        classes = files.read_json(CLASSES)
        overview = files.read_arrays("data/splits/overview.npz")
        samples = files.read_arrays("data/evaluation/samples.npz")
        table = result_tables.read(result_tables.PREDICTIONS)
        bins = result_tables.read("data/evaluation/reliability.csv")
        roc = result_tables.read("data/evaluation/curves/roc.csv")
        precision_recall = result_tables.read("data/evaluation/curves/precision_recall.csv")
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run `dvc repro` first.") from None
    figures = draw_images(samples, table)
    fractions = {TRAIN_FROZEN.stage: p.train_frozen.averaging, FINETUNE.stage: p.finetune.averaging}
    figures["history"] = history.panels(epochs, [stage for stage, fraction in fractions.items() if fraction])
    titles, sizes = [""] * len(augmentations), np.tile(overview["train_sizes"][0, 0], (len(augmentations), 1))
    figures["augmentations"] = base.grid(augmentations, titles, "Augmentations of one training image", sizes=sizes)
    figures["confusion"] = metrics.confusion_matrix(table["actual"], table["predicted"], classes)
    figures["confusion"].suptitle("Confusion matrix of the exported model on the test split", fontsize=base.TEXT)
    figures["curves"] = metrics.curves(roc, precision_recall)
    figures["reliability"] = metrics.reliability(bins)
    places = {name: f"plots/{name}.png" for name in figures}
    tables = {"epochs": "plots/history.csv", "classes": "plots/confusion.csv"}
    with files.replacing(**tables, overview="plots/overview", **places) as out:
        files.write_csv(epochs, out.epochs)
        files.write_csv(for_dvc(table), out.classes)
        out.overview.mkdir()
        for name, figure in draw_overview(overview, classes).items():
            base.save(figure, out.overview / f"{name}.png")
        for name, figure in figures.items():
            base.save(figure, getattr(out, name))


def for_dvc(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the actual and predicted classes of a prediction table, with names that DVC's page shows as they are."""
    return table[["actual", "predicted"]].map(cli.inert, marks=MARKS)


def draw_overview(overview: dict[str, np.ndarray], classes: list[str]) -> dict[str, Figure]:
    """Returns a contact sheet of each split, and the chart of the sizes of the images, by their names."""
    figures = {}
    for name in SPLITS:
        heading = f"Sample images of the {name} split"
        figures[name] = dataset.contact_sheet(overview[name], overview[f"{name}_sizes"], classes, heading)
    figures["sizes"] = dataset.sizes(overview["sizes"], overview["labels"], classes)
    figures["sizes"].suptitle(f"Original sizes of {len(overview['sizes'])} images")
    return figures


def draw_images(samples: dict[str, np.ndarray], table: pd.DataFrame) -> dict[str, Figure]:
    """Returns the figures of test images, by their names, from the arrays of examples.save and all predictions."""
    figures = {}
    uncertain = f"The least certain predictions, below {result_tables.CERTAIN:.0%}"
    headings = {"mistakes": "The most confident mistakes", "uncertain": uncertain}
    for sheet, heading in headings.items():
        pixels, sizes, rows = (samples[f"{sheet}_{array}"] for array in ("pixels", "sizes", "rows"))
        figures[sheet] = predictions.by_class(pixels, sizes, rows, table, heading)
    shown = table.iloc[samples["samples_rows"]]
    figures["predictions"] = predictions.predictions(samples["samples_pixels"], samples["samples_sizes"], shown)
    shown, heat_maps = table.iloc[samples["gradcam_rows"]], samples["gradcam_maps"]
    figures["gradcam"] = predictions.gradcam(samples["gradcam_pixels"], samples["gradcam_sizes"], heat_maps, shown)
    return figures


if __name__ == "__main__":
    cli.run(main)
