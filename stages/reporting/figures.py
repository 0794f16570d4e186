"""The figures of the report: images as thumbnails in data: URIs, charts as inline SVG."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from stages.charts import base, dataset, history, metrics, predictions
from stages.common.arrays import Sizes
from stages.reporting.run import Run

SIDE = 160  # pixels: the longer side of a thumbnail


@base.style()
def charts(run: Run) -> dict[str, str]:
    """Returns every chart as an <svg> element by its name; the sizes of the images only if they differ."""
    table, overview, curve = run.predictions, run.overview, run.learning_curve
    sizes = dataset.sizes(overview["sizes"], overview["labels"], run.classes) if len(run.image_sizes) > 1 else None
    figures = {
        "accuracy": history.panel(run.history, "accuracy", run.averaged),
        "loss": history.panel(run.history, "loss", run.averaged),
        "confusion": metrics.confusion_matrix(table["actual"], table["predicted"], run.classes),
        "roc": metrics.roc_curves(run.roc),
        "precision_recall": metrics.precision_recall_curves(run.precision_recall),
        "reliability_finetuned": metrics.reliability_diagram(run.bins, "finetuned"),
        "reliability_frozen": metrics.reliability_diagram(run.bins, "frozen"),
        "sizes": sizes,
        "learning_curve": dataset.learning_curve(curve) if curve["sizes"] else None,
    }
    # Letters are outlines: axe-core cannot tell the contrast of <text>. What charts say is text beside them, in tables.
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        return {name: base.svg(figure, name) for name, figure in figures.items() if figure}


def galleries(run: Run) -> dict[str, Any]:
    """Returns the images of the page, each a dict: `image`, what `thumbnail` returns, and what its caption says.

    By name: the sheets of test images, each with its row of the predictions, those of Grad-CAM with `heat`, a second
    image, and those of mistakes the most confident first; "labels", each with its row of the audit's table; "overview",
    training images by class; and "augmentations".
    """
    samples, audit, overview = run.samples, run.audit_samples, run.overview
    sheets: dict[str, Any] = {}
    for sheet in ("samples", "mistakes", "uncertain", "gradcam"):
        rows = run.predictions.iloc[samples[f"{sheet}_rows"]]
        sheets[sheet] = _with_images(rows, samples[f"{sheet}_pixels"], samples[f"{sheet}_sizes"])
    sheets["mistakes"].sort(key=lambda row: -row["probability"])
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


def _with_images(table: pd.DataFrame, pixels: np.ndarray, sizes: Sizes) -> list[dict]:
    """Returns the rows of a table as dicts, each with its `image`."""
    images = map(thumbnail, pixels, sizes)
    return [row | {"image": image} for row, image in zip(table.to_dict("records"), images, strict=True)]


def thumbnail(pixels: np.ndarray, size: Sequence[int]) -> dict[str, Any]:
    """Returns a small WebP as a data: URI, `source`, with its width and height, in the aspect ratio of `size`.

    `pixels`, uint8 [n, n, 3], are those of an image that was resized to a square; `size` is that of its file.
    """
    image = Image.fromarray(base.restore_aspect(pixels, size, min(SIDE, len(pixels))))
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=75)
    source = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return {"source": source, "width": image.width, "height": image.height}
