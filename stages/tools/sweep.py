"""Draws validation accuracy and loss against one or two parameters, from the experiments of the current commit.

    python -m stages.tools.sweep PARAMETER [SECOND] [KEY=VALUE ...]

    PARAMETER  the parameter on the horizontal axis, such as finetune.fine_tune_at
    SECOND     another one, with a line for each of its values
    KEY=VALUE  draw only experiments that have this value of this parameter

Writes plots/sweep.png and plots/sweep.csv: the fine-tuned model's validation accuracy and loss. The setting with the
lowest validation loss, mean over the seeds, is marked, and its test score is given: those of the others play no part in
the choice.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from stages.charts import base
from stages.common import cli, files, terminal
from stages.common.cli import UserError
from stages.tools import experiments

LOG_RANGE = 30  # of values that span more than this factor the axis is logarithmic


@base.style()
def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("parameters", nargs="+", metavar="PARAMETER")
    arguments = parser.parse_args().parameters
    keys = [argument for argument in arguments if "=" not in argument]
    if len(keys) not in (1, 2):
        raise UserError(f"{len(keys)} parameters are given, but a chart shows one or two.")
    wanted = dict(experiments.setting(argument) for argument in arguments if "=" in argument)
    found = {name: experiments.parameters(name, [*keys, *wanted]) for name in experiments.names()}
    if not found:
        raise UserError("the current commit has no experiments: run some with `dvc exp run`.")
    chosen = choose(pd.DataFrame.from_dict(found, orient="index"), keys, wanted)
    check_content(chosen)
    validation = pd.DataFrame({name: experiments.validation(name) for name in chosen.index}).T
    points = chosen[[*keys, "seed"]].join(validation).rename_axis("experiment").reset_index()
    points = common_seeds(points, keys).sort_values([*keys, "seed"], ignore_index=True)
    settings = points.groupby(keys, dropna=False)[["val_accuracy", "val_loss"]].mean().reset_index()
    lowest = settings["val_loss"].idxmin()
    points["best"] = (points[keys] == settings.loc[lowest, keys]).all(axis=1)
    best = points[points["best"]]
    values, seeds = ", ".join(f"{key} {best[key].iloc[0]}" for key in keys), ", ".join(map(str, best["seed"]))
    test = score_text(best["experiment"])
    title = f"Validation of the fine-tuned model, seed {seeds}\nRing: lowest loss, {values}\nTest: {test}"
    with files.replacing(table="plots/sweep.csv", chart="plots/sweep.png") as out:
        files.write_csv(points, out.table)
        base.save(draw(points, settings, keys, title), out.chart)
    table = settings.assign(lowest=np.where(settings.index == lowest, "*", ""))
    terminal.show(terminal.table(table, "{:.4g}"), f"\nMeans of seed {seeds}. Test of the lowest val_loss:", test)


def choose(parameters: pd.DataFrame, keys: Sequence[str], wanted: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the experiments that are to be compared, one for each setting of `keys` and seed.

    Args:
        parameters: a row per experiment, a column per parameter.
        keys: the parameters to draw.
        wanted: values that the experiments must have, by parameter.

    Raises:
        UserError: none has these values, or they differ in other parameters than `keys` and the seed.
    """
    for key, value in wanted.items():
        parameters = parameters[parameters[key] == value]
        if parameters.empty:
            raise UserError(f"no experiment of the current commit has {key}={value} and what stands before it.")
    varied = [str(key) for key, values in parameters.items() if values.nunique(dropna=False) > 1]
    data = [key for key in varied if key.startswith("data.")]
    if data:
        one = f"choose one, as with {describe(data[0], parameters)}"
        raise UserError(f"the experiments validate on different images, as they differ in {', '.join(data)}: {one}.")
    others = [key for key in varied if key not in (*keys, "seed")]
    if others:
        second = f"add {others[0]} as second PARAMETER, or " if len(keys) == 1 else ""
        one = f"{second}choose one, as with {describe(others[0], parameters)}"
        raise UserError(f"the experiments differ in {', '.join(others)}, too: {one}.")
    return parameters.drop_duplicates([*keys, "seed"])


def describe(key: str, parameters: pd.DataFrame) -> str:
    """Returns KEY=VALUE of the first experiment, and the values of the others."""
    first, *others = (str(value) for value in parameters[key].unique())
    return f"{key}={first} (others are {cli.enumeration(others)})"


def check_content(parameters: pd.DataFrame) -> None:
    """Raises a UserError if the files of data.images are not the same in all experiments, by their hashes."""
    hashes = {name: experiments.hashes(name)["split"].get(path) for name, path in parameters["data.images"].items()}
    first = parameters.index[0]
    for name, value in hashes.items():
        if value != hashes[first]:
            raise UserError(
                f"{parameters['data.images'].iloc[0]} has other images in experiment {name} than in {first}: commit "
                "them, and run the experiments on that commit."
            )


def common_seeds(points: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Returns the points of those seeds that every setting has: each seed has other images to validate on."""
    seeds = set.intersection(*(set(rows["seed"]) for _, rows in points.groupby(list(keys), dropna=False)))
    if not seeds:
        raise UserError("the settings have no seed in common, so no images to compare on: run each with the same seed.")
    left_out = sorted(set(points["seed"]) - seeds)
    if left_out:
        print(f"Not every setting has seed {', '.join(map(str, left_out))}: left out.\n")
    return points[points["seed"].isin(seeds)]


def score_text(names: pd.Series) -> str:
    """Returns the mean test accuracy and loss of experiments as a text."""
    for name in names:
        hashes, model = experiments.hashes(name), "data/models/finetuned"
        if hashes.get("evaluate", {}).get(model) != hashes["finetune"][model]:
            return f"not tested yet (`dvc exp apply {name}`, then `dvc repro`)"
    scores = pd.DataFrame([experiments.scores(name) for name in names]).mean()
    images = sum(experiments.counts(names.iloc[0])[1])
    return f"accuracy {scores['finetuned accuracy']:.4f}, loss {scores['finetuned loss']:.4f} on {images} images"


def draw(points: pd.DataFrame, settings: pd.DataFrame, keys: Sequence[str], title: str) -> Figure:
    """Draws accuracy above and loss below: a point per experiment, a line through the means, a ring around the best.

    Args:
        points: columns of `keys`, val_accuracy, val_loss and best, a bool.
        settings: the means, a row per setting of `keys`.
        keys: one parameter, or two.
        title: its lines.
    """
    key, *second = keys
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle("\n".join(base.plain(line, 110) for line in title.split("\n")), fontsize=11)
    panels = figure.subplots(2, 1, sharex=True)
    place = places(points[key])
    groups = list(settings.groupby(second[0], dropna=False)) if second else [(None, settings)]
    colours: Any = [f"C{number}" for number in range(10)]
    if len(groups) > len(colours):
        colours = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(groups)))
    best = points[points["best"]]
    lines = {}
    for axes, column in zip(panels, ("val_accuracy", "val_loss"), strict=True):
        for colour, (value, means) in zip(colours, groups, strict=False):
            rows = points[points[second[0]] == value] if second else points
            axes.plot(rows[key].map(place), rows[column], "o", color=colour, alpha=0.4, markersize=4)
            [lines[str(value)]] = axes.plot(means[key].map(place), means[column], "-", color=colour, label=str(value))
        ring = {"markersize": 13, "fillstyle": "none", "color": "black"}
        axes.plot(place[best[key].iloc[0]], best[column].mean(), "o", **ring)
        axes.grid(alpha=0.3)
    upper, lower = panels
    upper.set_ylabel("Accuracy")
    lower.set_ylabel("Loss (cross-entropy)")
    lower.set_xlabel(key)
    set_axis(lower, place)
    if second:
        figure.legend(lines.values(), lines.keys(), title=second[0], loc="outside lower center", ncols=6)
    return figure


def places(values: pd.Series) -> dict[Hashable, Any]:
    """Returns where on the axis each value stands: numbers where they are, texts at equal distances, in order."""
    if pd.api.types.is_numeric_dtype(values):
        return {value: value for value in sorted(values.unique())}
    return {value: place for place, value in enumerate(sorted(values.unique(), key=str))}


def set_axis(axes: Axes, place: dict[Hashable, Any]) -> None:
    """Names the values on the axis where they are texts; makes it logarithmic where numbers span much."""
    lowest, highest = min(place.values()), max(place.values())
    if list(place) != list(place.values()):
        axes.set_xticks(list(place.values()), [base.plain(str(value), 20) for value in place])
    elif 0 < lowest * LOG_RANGE < highest:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        if len(place) <= 10:
            axes.set_xticks(list(place.values()), [f"{value:g}" for value in place.values()])


if __name__ == "__main__":
    cli.run(main)
