"""Draws what the experiments of the current commit say about one or two parameters.

    python -m stages.tools.sweep PARAMETER [SECOND PARAMETER]

Writes plots/sweep.png and plots/sweep.csv: the fine-tuned model's test accuracy against PARAMETER, a line for each value of
the second.
"""

import argparse

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from stages.charts import base as charts
from stages.common import cli, files
from stages.common.cli import UserError
from stages.tools import experiments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parameters", nargs="+", metavar="PARAMETER")
    keys = parser.parse_args().parameters
    if len(keys) > 2:
        raise UserError(f"{len(keys)} parameters are given, but a chart shows at most 2.")
    rows = [row(name, keys) for name in experiments.names()]
    if not rows:
        raise UserError("the current commit has no experiments: run some with `dvc exp run`.")
    table = pd.DataFrame(rows).sort_values([*keys, "experiment"], ignore_index=True)
    with files.replacing(table="plots/sweep.csv", chart="plots/sweep.png") as out:
        table.to_csv(out.table, index=False)
        charts.save(draw(table, *keys), out.chart)
    print(table.to_markdown(index=False, floatfmt=".4g"))


def row(name, keys):
    """Returns an experiment's parameters `keys` and its accuracy with the Wilson score interval at 95%."""
    given = experiments.parameters(name)
    for key in keys:
        if key not in given:
            raise UserError(f"{key} is no parameter of experiment {name}.")
    accuracy, (_, test_count) = experiments.scores(name)["finetuned accuracy"], experiments.counts(name)
    interval = stats.binomtest(round(accuracy * test_count), test_count).proportion_ci(method="wilson")
    return {
        **{key: given[key] for key in keys},
        "accuracy": accuracy,
        "from": interval.low,
        "to": interval.high,
        "test images": test_count,
        "experiment": name,
    }


def draw(table, key, second=None):
    """Draws a point with its interval for each row of `table`; words stand at equal distances, in their order."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    numeric = pd.api.types.is_numeric_dtype(table[key])
    places = table[key] if numeric else table[key].astype("category").cat.codes
    if not numeric:
        names = table[key].astype("category").cat.categories
        axes.set_xticks(range(len(names)), names)
    groups = table.groupby(second) if second else [(None, table)]
    span = places.max() - places.min() or 1
    for number, (value, rows) in enumerate(groups):
        shift = (number - (len(groups) - 1) / 2) * span * 0.012  # so that intervals stand side by side
        x = places[rows.index] + shift
        bars = [rows["accuracy"] - rows["from"], rows["to"] - rows["accuracy"]]
        label = f"{second} {value}" if second else None
        axes.errorbar(x, rows["accuracy"], bars, fmt="o", capsize=4, color=f"C{number}", label=label)
        means = rows["accuracy"].groupby(x).mean()
        axes.plot(means.index, means, "-", color=f"C{number}", alpha=0.5)
    axes.set_title("Test accuracy of the fine-tuned model, with 95% intervals")
    axes.set_xlabel(key)
    axes.set_ylabel("Accuracy")
    axes.grid(alpha=0.3)
    if second:
        axes.legend()
    return figure


if __name__ == "__main__":
    cli.run(main)
