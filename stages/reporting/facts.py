"""The facts of a run that the report and the model card state, computed from the outputs of its stages."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.dataset import SPLITS
from stages.reporting import model_card
from stages.statistics import paired_test

MAX_ROWS = 200  # of a list of images
WORST_SLICES = 10  # that are shown


def summarise(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what report and card state, by the names in their templates; lists are of dicts, a dict for each row.

    Args:
        run: what stages.report.read returns, and params (dotted keys).
    """
    counts = {name: run["split"][name] for name in SPLITS}
    finetuned = run["scores"]["finetuned"]
    return {
        **_classes(run, counts),
        **_predictions(run["predictions"], counts["test"]),
        "images_hash": _hash([run[f"{name}_manifest"] for name in SPLITS]),
        "image_sizes": _size_range(run["overview"]["sizes"]),
        "changed_params": _changed_params(run["params"]),
        "metrics": {key: words for key, words in model_card.METRICS.items() if key in finetuned},
        "axes": _axes(run["intervals"]),
        "changed": run["scores"]["changed"],
        "significant": run["scores"]["changed"]["p_value"] < paired_test.SIGNIFICANCE,
        "slices": _rows(run["slices"].sort_values(["flagged", "accuracy"], ascending=[False, True]), WORST_SLICES),
        "slice_count": len(run["slices"]),
        "flagged_slices": int(run["slices"]["flagged"].sum()),
        "doubtful": _rows(run["labels"], MAX_ROWS),
        "unreadable": _rows(run["unreadable"], MAX_ROWS),
        "epochs": _rows(run["history"]),
        "reliability": _rows(run["bins"][run["bins"]["model"] == "finetuned"]),
        "smallest": min(run["export"], key=lambda key: run["export"][key]["megabytes"]),
        "EXPORTS": model_card.EXPORTS,
        "usage": model_card.USAGE,
        "predict": "python -m stages.tools.predict my.jpg folder/of/images",
    }


def _classes(run: Mapping[str, Any], counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The numbers of images by split and class, and the classes in the orders of the tables."""
    classes, scores = run["classes"], run["class_scores"]["finetuned"]["classes"]
    return {
        "counts": counts,
        "totals": {name: sum(part.values()) for name, part in counts.items()},
        "majority_class": max(classes, key=lambda name: counts["test"][name]),
        "smallest_first": sorted(classes, key=lambda name: sum(part[name] for part in counts.values())),
        "worst_first": sorted(classes, key=lambda name: scores[name]["f1"]),
    }


def _predictions(predictions: pd.DataFrame, test_counts: dict[str, int]) -> dict[str, Any]:
    """Which test images are right, flipped by fine-tuning, wrong and uncertain, and which classes are confused."""
    right = predictions["actual"] == predictions["predicted"]
    right_before = predictions["actual"] == predictions["frozen"]
    mistakes = predictions[~right].sort_values("probability", ascending=False, kind="stable")
    confusions = mistakes.groupby(["actual", "predicted"]).size().reset_index(name="support")
    confusions["of"] = confusions["actual"].map(test_counts)
    return {
        "right": int(right.sum()),
        "flipped": _rows(predictions[right != right_before], MAX_ROWS),
        "confusions": _rows(confusions.sort_values("support", ascending=False, kind="stable"), MAX_ROWS),
        "mistake_count": len(mistakes),
        "mistakes": _rows(mistakes, MAX_ROWS),
    }


def _hash(manifests: list[pd.DataFrame]) -> str:
    """Returns 8 hexadecimal digits that tell images and their classes from others, whatever split they are in."""
    lines = sorted(f"{row.sha256} {row.label}" for table in manifests for row in table.itertuples())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def _size_range(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Returns width and height in pixels of the image with the fewest pixels and of the one with most, one if alike."""
    order = sizes.prod(axis=1).argsort(kind="stable")
    smallest, largest = ((int(width), int(height)) for width, height in sizes[[order[0], order[-1]]])
    return [smallest] if (sizes == sizes[0]).all() else [smallest, largest]


def _changed_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that differ from the defaults, but for the images, which are named anyway."""
    defaults = params.defaults()
    return {key: value for key, value in values.items() if value != defaults[key] and key != "data.images"}


def _axes(intervals: Mapping[str, Any]) -> dict[str, float]:
    """Where the axes of the bars of both tables of metrics start."""
    keys = [key for key in model_card.METRICS if key in intervals["finetuned"] and key != "loss"]
    return {
        "metrics": _axis(intervals[model][key][0] for model in intervals for key in keys),
        "classes": _axis(row["f1"][0] for row in intervals["finetuned"]["classes"].values()),
    }


def _axis(values: Iterable[float]) -> float:
    """Returns where an axis up to 1 starts that includes all values: a multiple of 0.1."""
    return min(math.floor(min(values) * 10), 9) / 10


def _rows(table: pd.DataFrame, most: int | None = None) -> list[dict[str, Any]]:
    """Returns the first rows of a DataFrame as dicts."""
    return table[:most].to_dict("records")
