"""Draws validation accuracy and loss against one or two parameters, from the experiments of the current commit.

    python -m stages.tools.sweep PARAMETER [SECOND] [KEY=VALUE ...]

    PARAMETER  parameter on the horizontal axis, such as finetune.fine_tune_at
    SECOND     second parameter, with a line for each of its values
    KEY=VALUE  value that all drawn experiments have

Writes plots/sweep.png and plots/sweep.csv: the fine-tuned model's validation accuracy and loss. The setting with the
lowest mean validation loss over the seeds is marked. Only its test score is read: test scores play no part in the
choice.
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
from stages.common.phases import FINETUNE
from stages.tools import experiments

LOG_RANGE = 30  # factor between the ends of an axis above which it is logarithmic


@base.style()
def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("parameters", nargs="+", metavar="PARAMETER")
    arguments = parser.parse_args().parameters
    keys = [argument for argument in arguments if "=" not in argument]
    if len(keys) not in (1, 2):
        raise UserError(f"{len(keys)} parameters are given, but a chart shows one or two.")
    wanted = {key: hashable(x) for key, x in map(experiments.setting, (text for text in arguments if "=" in text))}
    found = {name: experiments.parameters(name, [*keys, *wanted]) for name in experiments.names()}
    if not found:
        raise UserError("the current commit has no experiments: run some with `dvc exp run`.")
    chosen = choose(pd.DataFrame.from_dict(found, orient="index").map(hashable), keys, wanted)
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


def hashable(value: Any) -> Any:
    """Returns a list of names, such as data.classes, as one text, and other values as they are."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value


def choose(parameters: pd.DataFrame, keys: Sequence[str], wanted: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the rows of `parameters` that have the `wanted` values, one for each setting of `keys` and seed.

    Raises:
        UserError: no experiment has these values, or they differ in other parameters than `keys` and the seed.
    """
    for key, value in wanted.items():
        parameters = parameters[parameters[key] == value]
        if parameters.empty:
            raise UserError(f"no experiment of the current commit has {key}={value} and the values given before it.")
    varied = [str(key) for key, values in parameters.items() if values.nunique(dropna=False) > 1]
    data = [key for key in varied if key.startswith("data.")]
    if data:
        advice = advise_value(data[0], parameters)
        raise UserError(f"the experiments validate on different images, as they differ in {', '.join(data)}: {advice}")
    others = [key for key in varied if key not in (*keys, "seed")]
    if others:
        second = f"add {others[0]} as second PARAMETER, or " if len(keys) == 1 else ""
        advice = second + advise_value(others[0], parameters)
        raise UserError(f"the experiments differ in {', '.join(others)}, too: {advice}")
    return parameters.drop_duplicates([*keys, "seed"])


def advise_value(key: str, parameters: pd.DataFrame) -> str:
    """Advises to add KEY=VALUE to the command: the value of the first experiment, or one of the others."""
    first, *others = (str(value) for value in parameters[key].unique())
    return f"choose one, as with {key}={first} (others are {cli.enumeration(others)})."


def check_content(parameters: pd.DataFrame) -> None:
    """Raises a UserError if the files of data.images are not the same in all experiments, by their hashes."""
    first, path = parameters.index[0], parameters["data.images"].iloc[0]
    expected = experiments.hashes(first)["split"].get(path)
    for name in parameters.index[1:]:
        if experiments.hashes(name)["split"].get(path) != expected:
            remedy = "commit them, and run the experiments on that commit"
            raise UserError(f"{path} has other images in experiment {name} than in {first}: {remedy}.")


def common_seeds(points: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Returns the points of the seeds that every setting has: each seed validates on other images."""
    seeds = set.intersection(*(set(rows["seed"]) for _, rows in points.groupby(list(keys), dropna=False)))
    if not seeds:
        raise UserError("the settings have no seed in common, so no images to compare on: run each with the same seed.")
    left_out = sorted(set(points["seed"]) - seeds)
    if left_out:
        print(f"Not every setting has seed {', '.join(map(str, left_out))}: left out.\n")
    return points[points["seed"].isin(seeds)]


def score_text(names: pd.Series) -> str:
    """Returns the mean test accuracy and loss of experiments as a text."""
    model = FINETUNE.saved_model
    for name in names:
        hashes = experiments.hashes(name)
        if hashes.get("evaluate", {}).get(model) != hashes["finetune"][model]:
            return f"not tested yet (`dvc exp apply {name}`, then `dvc repro`)"
    scores = pd.DataFrame([experiments.scores(name) for name in names]).mean()
    images = sum(experiments.counts(names.iloc[0], "test").values())
    return f"accuracy {scores['finetuned accuracy']:.4f}, loss {scores['finetuned loss']:.4f} on {images} images"


def draw(points: pd.DataFrame, settings: pd.DataFrame, keys: Sequence[str], title: str) -> Figure:
    """Draws accuracy above and loss below: a point per experiment, a line through the means, a ring around the best.

    `points` has a row per experiment with the columns of `keys`, val_accuracy, val_loss and best (bool); `settings` has
    the means of val_accuracy and val_loss in a row per setting of `keys`.
    """
    key, *second = keys
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle("\n".join(base.plain(line, 110) for line in title.split("\n")), fontsize=11)
    upper, lower = figure.subplots(2, 1, sharex=True)
    place = places(points[key])
    groups = list(settings.groupby(second[0], dropna=False)) if second else [(None, settings)]
    many = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(groups)))
    colours = many if len(groups) > 10 else [f"C{number}" for number in range(10)]
    best = points[points["best"]]
    lines = {}
    for axes, column in ((upper, "val_accuracy"), (lower, "val_loss")):
        for colour, (value, means) in zip(colours, groups, strict=False):
            rows = points[points[second[0]] == value] if second else points
            axes.plot(rows[key].map(place), rows[column], "o", color=colour, alpha=0.4, markersize=4)
            [lines[str(value)]] = axes.plot(means[key].map(place), means[column], "-", color=colour, label=str(value))
        x, y = place[best[key].iloc[0]], best[column].mean()
        axes.plot(x, y, "o", markersize=13, fillstyle="none", color="black")
        axes.grid(alpha=0.3)
    upper.set_ylabel("Accuracy")
    lower.set(xlabel=key, ylabel="Loss (cross-entropy)")
    set_axis(lower, place)
    if second:
        figure.legend(lines.values(), lines.keys(), title=second[0], loc="outside lower center", ncols=6)
    return figure


def places(values: pd.Series) -> dict[Hashable, Any]:
    """Returns the position of each value on the axis: of a number the number itself, of sorted texts 0, 1, 2, ..."""
    if pd.api.types.is_numeric_dtype(values):
        return {value: value for value in sorted(values.unique())}
    return {value: place for place, value in enumerate(sorted(values.unique(), key=str))}


def set_axis(axes: Axes, place: dict[Hashable, Any]) -> None:
    """Labels the axis with values that are texts; makes it logarithmic for numbers over a wide range."""
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
