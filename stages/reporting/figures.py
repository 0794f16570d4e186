"""The figures of the report: test images as thumbnails in data: URIs, charts as inline SVG."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from stages.charts import base, dataset, history, metrics, predictions

SIDE = 160  # of a thumbnail, its longer one, in pixels
SHEETS = ("samples", "mistakes", "uncertain", "gradcam")


@base.style()
def charts(run: Mapping[str, Any]) -> dict[str, str]:
    """Returns every chart as an <svg> element by its name; the sizes of the images only if they differ."""
    actual, predicted, classes = run["predictions"]["actual"], run["predictions"]["predicted"], run["classes"]
    sizes = run["overview"]["sizes"]
    figures = {
        "accuracy": history.panel(run["history"], "accuracy"),
        "loss": history.panel(run["history"], "loss"),
        "confusion": metrics.confusion_matrix(actual, predicted, classes),
        "roc": metrics.roc_curves(run["roc"]),
        "precision_recall": metrics.precision_recall_curves(run["precision_recall"]),
        "reliability_finetuned": metrics.reliability_diagram(run["bins"], "finetuned"),
        "reliability_frozen": metrics.reliability_diagram(run["bins"], "frozen"),
        "sizes": dataset.sizes(sizes, run["overview"]["labels"], classes) if (sizes != sizes[0]).any() else None,
        "learning_curve": dataset.learning_curve(run["learning_curve"]) if run["learning_curve"]["sizes"] else None,
    }
    # Letters are outlines: axe-core cannot tell the contrast of <text>. What charts say is text beside them, in tables.
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        return {name: base.svg(figure, name) for name, figure in figures.items() if figure}


def galleries(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the images of the page, each a dict: `image`, what `thumbnail` returns, and what its caption says.

    By name: the sheets of test images, each with its row of the predictions, those of Grad-CAM with `heat`, a second
    image, and those of mistakes the most confident first; "labels", each with its row of the audit's table; "overview",
    training images by class; and "augmentations".
    """
    samples, audit, overview = run["samples"], run["audit_samples"], run["overview"]
    table = run["predictions"].to_dict("records")
    sheets: dict[str, Any] = {
        sheet: [
            table[row] | {"image": thumbnail(pixels, size)}
            for row, pixels, size in zip(
                *(samples[f"{sheet}_{key}"] for key in ("rows", "pixels", "sizes")), strict=True
            )
        ]
        for sheet in SHEETS
    }
    sheets["mistakes"].sort(key=lambda row: -row["probability"])
    sheets["uncertain"].sort(key=lambda row: row["margin"])
    heats = predictions.heat_overlay(samples["gradcam_pixels"], samples["gradcam_maps"])
    for row, heat, size in zip(sheets["gradcam"], heats, samples["gradcam_sizes"], strict=True):
        row["heat"] = thumbnail(heat, size)
    labels = run["labels"][: len(audit["pixels"])].to_dict("records")
    return sheets | {
        "labels": [
            row | {"image": thumbnail(pixels, size)}
            for row, pixels, size in zip(labels, audit["pixels"], audit["sizes"], strict=True)
        ],
        "overview": {
            name: [thumbnail(*image) for image in zip(pixels, sizes, strict=True) if image[1].all()]
            for name, pixels, sizes in zip(run["classes"], overview["train"], overview["train_sizes"], strict=True)
        },
        "augmentations": [thumbnail(pixels, overview["train_sizes"][0, 0]) for pixels in run["augmentations"]],
    }


def thumbnail(pixels: np.ndarray, size: Sequence[int]) -> dict[str, Any]:
    """Returns a small WebP as a data: URI, `source`, with its width and height.

    Args:
        pixels: uint8 [n, n, 3], of an image that was resized to a square.
        size: width and height of its file, whose aspect ratio the thumbnail has.
    """
    image = Image.fromarray(base.restore_aspect(pixels, size, min(SIDE, len(pixels))))
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=75)
    source = f"data:image/webp;base64,{base64.b64encode(webp.getvalue()).decode()}"
    return {"source": source, "width": image.width, "height": image.height}
