"""The figures of the report: images as thumbnails in data: URIs, charts as inline SVG."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from stages.charts import base, dataset, history, metrics, predictions
from stages.common import dataset as data, result_tables
from stages.common.arrays import Sizes
from stages.common.cli import UserError
from stages.reporting.run import Run

SIDE = 160  # CSS pixels: the longer side of an image, until it is enlarged
PERFECT = 1 - 1e-9  # area under a curve, but for rounding errors
MISTAKES = 200  # maximum number of mistakes that are shown: 2 MB of images of 224 pixels


@base.style()
def charts(run: Run) -> dict[str, str]:
    """Returns the charts as <svg> elements by their names, without those that would show a single point or corner."""
    table, overview, curve = run.predictions, run.overview, run.learning_curve
    figures = {"confusion": metrics.confusion_matrix(table["actual"], table["predicted"], run.classes)}
    if run.history["phase"].value_counts().max() > 1:
        figures |= {name: history.panel(run.history, name, run.averaged) for name in ("accuracy", "loss")}
    if any(scores["auc"] < PERFECT for scores in run.class_scores.finetuned["classes"].values()):
        figures["roc"] = metrics.roc_curves(run.roc)
        figures["precision_recall"] = metrics.precision_recall_curves(run.precision_recall)
    if run.bins.value_counts(["model", "calibrated"]).max() > 1:
        figures |= {
            f"reliability_{name}": metrics.reliability_diagram(run.bins, name) for name in run.bins["model"].unique()
        }
    if len(run.image_sizes) > 1:
        figures["sizes"] = dataset.sizes(overview["sizes"], overview["labels"], run.classes)
    if len(curve["sizes"]) > 1:
        figures["learning_curve"] = dataset.learning_curve(curve)
    # Letters are outlines: axe-core cannot tell the contrast of <text>. What charts say is text beside them, in tables.
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        return {name: base.svg(figure, name) for name, figure in figures.items()}


def galleries(run: Run) -> dict[str, Any]:
    """Returns the images of the page, each a dict: `image`, what `thumbnail` returns, and what its caption says.

    By name: the sheets of test images, each with its row of the predictions, and those of Grad-CAM with `heat`, a
    second image; "mistakes", the MISTAKES most confident ones; "labels", each with its row of the audit's table;
    "overview", training images by class; and "augmentations".
    """
    samples, audit, overview = run.samples, run.audit_samples, run.overview
    sheets: dict[str, Any] = {"mistakes": _mistakes(run)}
    for sheet in ("samples", "uncertain", "gradcam"):
        rows = run.predictions.iloc[samples[f"{sheet}_rows"]]
        sheets[sheet] = _with_images(rows, samples[f"{sheet}_pixels"], samples[f"{sheet}_sizes"])
    sheets["uncertain"].sort(key=lambda row: row["margin"])
    heats = predictions.heat_overlay(samples["gradcam_pixels"], samples["gradcam_maps"])
    for row, heat, size in zip(sheets["gradcam"], heats, samples["gradcam_sizes"], strict=True):
        row["heat"] = thumbnail(heat, size)
    sheets["labels"] = _with_images(run.labels[: len(audit["pixels"])], audit["pixels"], audit["sizes"])
    sheets["overview"] = {
        name: [thumbnail(*image) for image in zip(pixels, sizes, strict=True) if image[1].all()]
        for name, pixels, sizes in zip(run.classes, overview["train"], overview["train_sizes"], strict=True)
    }
    sheets["augmentations"] = [thumbnail(pixels, overview["train_sizes"][0, 0]) for pixels in run.augmentations]
    return sheets


def _mistakes(run: Run) -> list[dict]:
    """Returns the most confident mistakes with their images, which are read from the test split."""
    split, table = data.load("test"), run.mistakes[:MISTAKES]
    if len(split.manifest) != len(run.predictions):
        raise UserError(f"{result_tables.PREDICTIONS} is of another test split: run `dvc repro` first.")
    sizes = split.manifest[["width", "height"]].to_numpy()[table.index]
    return _with_images(table, (split.pixels[row] for row in table.index), sizes)


def _with_images(table: pd.DataFrame, pixels: Iterable[np.ndarray], sizes: Sizes) -> list[dict]:
    """Returns the rows of a table as dicts, each with its `image`."""
    images = map(thumbnail, pixels, sizes)
    return [row | {"image": image} for row, image in zip(table.to_dict("records"), images, strict=True)]


def thumbnail(pixels: np.ndarray, size: Sequence[int]) -> dict[str, Any]:
    """Returns a WebP as a data: URI, `source`, in the aspect ratio of `size`, and width and height to show it small.

    `pixels`, uint8 [n, n, 3], are those of an image that was resized to a square; `size` is that of its file. The
    longer side of the WebP has n pixels.
    """
    image = Image.fromarray(base.restore_aspect(pixels, size, len(pixels)))
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=75)
    source = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    scale = min(1, SIDE / len(pixels))
    width, height = (max(1, round(scale * side)) for side in image.size)
    return {"source": source, "width": width, "height": height}
