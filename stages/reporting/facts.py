"""What a run comes to, counted from what its stages measured: the facts that the page and the model card state."""

import math

from stages.common.dataset import SPLITS
from stages.evaluation import paired_test
from stages.reporting import formatting, model_card

LISTED, DOUBTFUL, LONGEST = (
    12,
    20,
    200,
)  # rows of uncertain predictions, of doubtful labels, of any other list of images


def summarise(run):
    """Returns a dict of what page and card say, by the names in their templates; lists are of dicts, a dict for each row.

    Args:
        run: dict of the stages' numbers, by the names that stages.report gives them, and of DataFrames: predictions, epochs,
            reliability, labels and unreadable.
    """
    predictions, split, changed = run["predictions"], run["split"], run["scores"]["changed"]
    counts = {name: split[name] for name in SPLITS}
    right = predictions["actual"] == predictions["predicted"]
    before = predictions["actual"] == predictions["frozen"]
    wrong = predictions[~right].sort_values("probability", ascending=False, kind="stable")
    confusions = wrong.groupby(["actual", "predicted"]).size().reset_index(name="support")
    confusions["of"] = confusions["actual"].map(counts["test"])
    class_scores, bounds = run["class_scores"]["finetuned"]["classes"], run["intervals"]
    numbers = {key: words for key, words in model_card.METRICS.items() if key in run["scores"]["finetuned"]}
    threshold = run["scores"]["finetuned"].get("threshold")  # two classes only
    return {
        "counts": counts,
        "totals": {name: sum(part.values()) for name, part in counts.items()},
        "commonest": max(run["classes"], key=counts["test"].get),
        "smallest_first": sorted(run["classes"], key=lambda name: sum(part[name] for part in counts.values())),
        "worst_first": sorted(run["classes"], key=lambda name: class_scores[name]["f1"]),
        "metrics": numbers,
        "axes": {
            "metrics": axis(bounds[model][key][0] for model in bounds for key in numbers if key != "loss"),
            "classes": axis(row["f1"][0] for row in bounds["finetuned"]["classes"].values()),
        },
        "right": int(right.sum()),
        "changed": changed,
        "chance": changed["p_value"] >= paired_test.SIGNIFICANCE,
        "moved": rows(predictions[right != before], LONGEST),
        "confusions": rows(confusions.sort_values("support", ascending=False, kind="stable"), LONGEST),
        "mistake_count": len(wrong),
        "mistakes": rows(wrong, LONGEST),
        "uncertain": rows(predictions.sort_values("margin", kind="stable"), LISTED),
        "doubtful": rows(run["labels"], DOUBTFUL),
        "unreadable": rows(run["unreadable"], LONGEST),
        "epochs": rows(run["epochs"]),
        "reliability": rows(run["reliability"][run["reliability"]["model"] == "finetuned"]),
        "smallest": min(run["export"], key=lambda key: run["export"][key]["megabytes"]),
        "EXPORTS": model_card.EXPORTS,
        "usage": model_card.USAGE,
        "predict": "python -m stages.tools.predict my.jpg folder/of/images"
        + (f" --threshold {formatting.setting(threshold)}" if threshold else ""),
    }


def axis(values):
    """Returns where an axis up to 1 starts that has room for all values: a tenth."""
    return min(math.floor(min(values) * 10), 9) / 10


def rows(table, most=None):
    """Returns the first rows of a DataFrame as dicts."""
    return table[:most].to_dict("records")
