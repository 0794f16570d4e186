"""Texts and tables of a measurement on new images, beside the metrics on the test split."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from stages.common import files, terminal
from stages.common.cli import enumeration, printable
from stages.evaluation.model_evaluation import Evaluation, with_interval
from stages.reporting import formatting
from stages.statistics import intervals

MOST_CLASSES = 20  # maximum number of classes listed in full
FEWEST_CLASSES = 10  # number of classes listed otherwise, those with the lowest recall
MATRIX = 8  # maximum number of classes of a confusion matrix; of more, pairs are listed
MISTAKES = 10  # maximum number of mistakes, and of pairs of classes
OTHER_MIX = 0.1  # total variation distance of class frequencies above which they are called different


@dataclass(frozen=True)
class Test:
    """The fine-tuned model's metrics, their intervals and its predictions on the test split."""

    scores: dict[str, float]
    classes: dict[str, dict[str, float]]
    intervals: dict[str, Any]
    predictions: pd.DataFrame


def read_test() -> Test | None:
    """Reads what the stage evaluate wrote; returns None if a file is missing.

    Raises:
        UserError: a file is damaged.
    """
    names = ("metrics", "classes", "intervals")
    try:
        with files.checked("data/evaluation"):
            scores, classes, bounds = (files.read_json(f"data/evaluation/{name}.json")["finetuned"] for name in names)
            predictions = files.read_csv("plots/predictions.csv", errors="backslashreplace")
            return Test(scores, classes["classes"], bounds, predictions)
    except FileNotFoundError:
        return None


def describe(
    folder: str, classes: list[str], evaluation: Evaluation, table: pd.DataFrame, test: Test | None
) -> list[str | Text | Table]:
    """Returns all that is printed; `table` is the prediction table of the new images."""
    independent = table["group"].nunique()
    groups = f", in {independent:,} groups, which count once in intervals" if independent < len(table) else ""
    lines: list[str | Text | Table] = [f"{len(table):,} images of {printable(folder)}{groups}", ""]
    lines += [_metrics(evaluation, test)]
    if len(classes) == 2 and "auc" in evaluation.scores:
        lines.append(f"\nauc, precision, recall and f1 are those of {classes[1]!r}, the second class.")
    if missing := sorted(set(classes) - set(table["actual"])):
        lines.append(
            f"\nNo image here is of {enumeration(list(map(repr, missing)))}: metrics that need these classes are left "
            "out, also of averages."
        )
    if test:
        lines += ["", _difference(table, test)]
    return [*lines, "", *_classes(evaluation, test), "", *_confusions(table, classes), "", *_mistakes(table)]


def _metrics(evaluation: Evaluation, test: Test | None) -> Table:
    columns = {"here": (evaluation.scores, evaluation.intervals)}
    if test:
        columns["test split"] = (test.scores, test.intervals)
    rows = [
        {"metric, with its 95% interval": metric}
        | {name: with_interval(values.get(metric), bounds.get(metric)) for name, (values, bounds) in columns.items()}
        for metric in evaluation.scores
    ]
    return terminal.table(pd.DataFrame(rows))


def _difference(table: pd.DataFrame, test: Test) -> str:
    """Says whether accuracy differs from that on the test split by more than noise (Newcombe's interval)."""
    tables = (table, test.predictions)
    here, there = (float((x["actual"] == x["predicted"]).mean()) for x in tables)
    low, high = intervals.newcombe(here, there, *(x["group"].nunique() for x in tables))
    finding = "within noise" if low <= 0 <= high else "more than noise"
    size = f"{formatting.points(abs(here - there))} points {'lower' if here < there else 'higher'} than"
    text = (
        f"Accuracy is {'the same as' if here == there else size} on the test split. A difference from "
        f"{formatting.points(low)} to {formatting.points(high)} points is plausible (95% interval): this is {finding}."
    )
    a, b = (x["actual"].value_counts(normalize=True) for x in tables)
    if a.sub(b, fill_value=0).abs().sum() / 2 > OTHER_MIX:
        text += " The classes have other frequencies here, which alone can change it: compare the recall of each class."
    return text


def _classes(evaluation: Evaluation, test: Test | None) -> list[str | Table]:
    """Returns the metrics of each class; of many classes, of those with the lowest recall."""
    by_class = evaluation.class_scores["classes"]
    rows = []
    for name, values in by_class.items():
        bounds = evaluation.intervals["classes"][name]["recall"]
        row = {"class": name, "images": values["support"], "recall": with_interval(values["recall"], bounds)}
        if test:
            row["test split's"] = test.classes.get(name, {}).get("recall")
        rows.append(row | {metric: values[metric] for metric in ("precision", "f1", "auc") if metric in values})
    heading: list[str | Table] = []
    if len(rows) > MOST_CLASSES:
        heading = [f"The {FEWEST_CLASSES} of {len(rows)} classes with the lowest recall:"]
        rows = sorted(rows, key=lambda row: by_class[row["class"]]["recall"])[:FEWEST_CLASSES]
    return [*heading, terminal.table(pd.DataFrame(rows))]


def _confusions(table: pd.DataFrame, classes: list[str]) -> list[str | Text | Table]:
    """Returns the confusion matrix; of many classes, the most frequent pairs."""
    if len(classes) <= MATRIX:
        counts = pd.crosstab(table["actual"], table["predicted"]).reindex(columns=classes, fill_value=0)
        return [Text("Actual class (rows) and predicted class (columns)", "bold"), terminal.table(_named(counts))]
    wrong = table[table["actual"] != table["predicted"]]
    pairs = wrong.groupby(["actual", "predicted"]).size().reset_index(name="images")
    pairs["of"] = pairs["actual"].map(table["actual"].value_counts())
    pairs = pairs.sort_values("images", ascending=False, kind="stable")[:MISTAKES]
    if pairs.empty:
        return []
    return [Text("The most frequent confusions", "bold"), terminal.table(pairs)]


def _named(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.rename_axis(columns=None).reset_index(names="")


def _mistakes(table: pd.DataFrame) -> list[str | Text | Table]:
    """Returns the most confident mistakes."""
    wrong = table[table["actual"] != table["predicted"]].sort_values("probability", ascending=False, kind="stable")
    if wrong.empty:
        return ["All predictions are right."]
    shown = wrong[:MISTAKES][["actual", "predicted", "probability", "path"]]
    shown = shown.assign(probability=shown["probability"].map(formatting.percent))
    return [Text(f"The most confident mistakes, of {len(wrong):,}", "bold"), terminal.table(shown)]
