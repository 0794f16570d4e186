"""Draws test accuracy against one or two parameters, from the experiments of the current commit.

    python -m stages.tools.sweep PARAMETER [SECOND PARAMETER]

Writes plots/sweep.png and plots/sweep.csv: the fine-tuned model's test accuracy against PARAMETER, a line for each
value of the second.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import argparse
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from stages.charts import base
from stages.common import cli, files
from stages.common.cli import UserError
from stages.tools import experiments


@base.style()
def main() -> None:
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
        files.write_csv(table, out.table)
        base.save(draw(table, *keys), out.chart)
    print(table.to_markdown(index=False, floatfmt=".4g"))


def row(name: str, keys: list[str]) -> dict[str, Any]:
    """Returns an experiment's parameters `keys` and its accuracy with the Wilson score interval at 95%."""
    values = experiments.parameters(name)
    for key in keys:
        if key not in values:
            raise UserError(f"{key} is not a parameter of experiment {name}.")
    accuracy, (_, test_count) = experiments.scores(name)["finetuned accuracy"], experiments.counts(name)
    interval = stats.binomtest(round(accuracy * test_count), test_count).proportion_ci(method="wilson")
    return {
        **{key: values[key] for key in keys},
        "accuracy": accuracy,
        "from": interval.low,
        "to": interval.high,
        "test images": test_count,
        "experiment": name,
    }


def draw(table: pd.DataFrame, key: str, second: str | None = None) -> Figure:
    """Draws accuracy with its interval for each row of `table`; text values stand at equal distances, in order."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    if pd.api.types.is_numeric_dtype(table[key]):
        positions = table[key]
    else:
        categories = table[key].astype("category").cat
        positions = categories.codes
        axes.set_xticks(range(len(categories.categories)), categories.categories)
    groups = list(table.groupby(second)) if second else [(None, table)]
    span = positions.max() - positions.min() or 1
    for number, (value, rows) in enumerate(groups):
        offset = (number - (len(groups) - 1) / 2) * span * 0.012  # so that intervals stand side by side
        x = positions[rows.index] + offset
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
