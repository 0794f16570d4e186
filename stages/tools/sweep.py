"""Draws validation accuracy and loss against one or two parameters, from the experiments of the current commit.

    python -m stages.tools.sweep PARAMETER [SECOND] [KEY=VALUE ...]

    PARAMETER  parameter on the horizontal axis, such as finetune.fine_tune_at
    SECOND     second parameter, with a line for each of its values
    KEY=VALUE  value that all drawn experiments have

Writes plots/sweep.png and plots/sweep.csv: the fine-tuned model's validation accuracy and loss. The runs of the commit
(HEAD) and of the workspace are drawn, too, where their results are known. Of experiments that differ in other
parameters, those with the committed values are drawn. The setting with the lowest mean validation loss over the seeds
is marked. Only its test score is read: test scores play no part in the choice.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from pandas.api.types import is_float_dtype

from stages.charts import base
from stages.common import cli, files, params, terminal
from stages.common.cli import UserError
from stages.tools import baseline, experiments

LOG_RANGE = 30  # factor between the ends of an axis above which it is logarithmic
MOST_TICKS = 10  # values on an axis that are all labelled


@base.style()
def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("parameters", nargs="+", metavar="PARAMETER")
    arguments = parser.parse_args().parameters
    keys = [argument for argument in arguments if "=" not in argument]
    if len(keys) not in (1, 2):
        raise UserError(f"{len(keys)} parameters are given, but a chart shows one or two.")
    wanted = {key: hashable(x) for key, x in map(experiments.setting, (text for text in arguments if "=" in text))}
    for key in (*keys, *wanted):
        params.check_name(key)
    revisions = [*baseline.runs(), *experiments.names()]
    found = {name: experiments.parameters(name, [*keys, *wanted]) for name in revisions}
    if not found:
        raise UserError("the current commit has no experiments: run some with `dvc exp run`.")
    committed = {key: hashable(value) for key, value in experiments.parameters(baseline.COMMIT).items()}
    chosen = choose(pd.DataFrame.from_dict(found, orient="index").map(hashable), keys, wanted, committed)
    if chosen.empty:
        raise UserError("there is nothing to compare: the committed settings have not run. `dvc repro` runs them.")
    chosen = check_content(chosen)
    validation = pd.DataFrame({name: experiments.validation(name) for name in chosen.index}).T
    points = chosen[[*keys, "seed"]].join(validation).rename_axis("experiment").reset_index()
    points = common_seeds(points, keys)
    points = points.sort_values([*keys, "seed"], key=lambda column: column.map(rank), ignore_index=True)
    check_settings(points, keys, committed, baseline.changes(experiments.WORKSPACE))
    settings = points.groupby(keys, dropna=False, sort=False)[["val_accuracy", "val_loss"]].mean().reset_index()
    lowest = settings["val_loss"].idxmin()
    points["best"] = (points[keys] == settings.loc[lowest, keys]).all(axis=1)
    points["committed"] = points["experiment"] == baseline.COMMIT
    report(points, settings, keys)


def report(points: pd.DataFrame, settings: pd.DataFrame, keys: Sequence[str]) -> None:
    """Writes the table and the chart, and shows the settings with what to do; arguments as for `draw`."""
    best = points[points["best"]]
    changes = {key: best[key].iloc[0] for key in keys}
    seeds = ", ".join(map(str, best["seed"]))
    test = score_text(best["experiment"])
    ring = ", ".join(f"{key} {value}" for key, value in changes.items())
    square = "; square: the committed settings" if points["committed"].any() else ""
    title = f"Validation of the fine-tuned model, seed {seeds}\nRing: lowest loss, {ring}{square}\nTest: {test}"
    with files.replacing(table="plots/sweep.csv", chart="plots/sweep.png") as out:
        files.write_csv(points, out.table)
        base.save(draw(points, settings, keys, title), out.chart)
    is_best = (settings[list(keys)] == pd.Series(changes)).all(axis=1)
    own = points.loc[points["committed"], keys].drop_duplicates()
    is_own = settings[list(keys)].apply(tuple, axis=1).isin(list(own.itertuples(index=False, name=None)))
    notes = np.where(is_best & is_own, "lowest loss, committed", np.where(is_best, "lowest loss", ""))
    values = {key: settings[key].map("{:g}".format if is_float_dtype(settings[key]) else str) for key in keys}
    table = settings.assign(**values, note=np.where(is_own & ~is_best, "committed", notes))
    means = f"Means of seeds {seeds}" if len(best) > 1 else f"Seed {seeds}"
    terminal.show(
        terminal.table(table),
        f"\n{means}, drawn in plots/sweep.png.\nTest of the lowest val_loss: {test}.",
        describe(points),
    )


def describe(points: pd.DataFrame) -> str:
    """Says in words whether the setting with the lowest loss is better than the committed one, and how to find out."""
    best, own = (points[points[name]].set_index("seed") for name in ("best", "committed"))
    if not own.empty and own["best"].any():
        return "The committed settings have the lowest validation loss: there is nothing to change."
    advice = baseline.advise_repeats(best["experiment"].iloc[0])
    if own.empty:
        return advice
    [(seed, run)] = own.iterrows()
    images = sum(experiments.counts(run["experiment"], "validation").values())
    return f"{baseline.describe_gain(best.loc[seed], run, images)}\n{advice}"


def rank(value: Any) -> tuple[bool, float, str]:
    """Returns what to sort values of a parameter by: numbers, then texts, such as auto."""
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


def hashable(value: Any) -> Any:
    """Returns a list of names, such as data.classes, as one text, and other values as they are."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value


def choose(
    parameters: pd.DataFrame, keys: Sequence[str], wanted: Mapping[str, Any], committed: Mapping[str, Any]
) -> pd.DataFrame:
    """Returns the rows of `parameters` that have the `wanted` values, one for each setting of `keys` and seed.

    Of rows that differ in other parameters, those with the `committed` values are chosen, if they have two settings.

    Raises:
        UserError: no experiment has the wanted values, or they differ in other parameters than `keys` and the seed.
    """
    for key, value in wanted.items():
        having = parameters[parameters[key] == value]
        if having.empty:
            there = cli.enumeration([str(other) for other in parameters[key].unique()])
            raise UserError(f"no experiment with the values given before it has {key}={value}: there are {there}.")
        parameters = having
    unknown = [str(key) for key in parameters if key not in committed]  # added by -S +KEY=VALUE
    for key in (*unknown, "data.fold"):  # cross_validate sets the fold, for models of its own
        if key not in (*keys, *wanted):
            parameters = leave_out(parameters, key, committed)
    drawn = [key for key in varied(parameters, []) if key in keys and key.startswith("data.")]
    others, alike = varied(parameters, keys), parameters
    for key in others:
        alike = alike[has_value(alike, key, committed)]
    if others and not drawn and len(alike.drop_duplicates(list(keys))) > 1:
        for key in others:
            parameters = leave_out(parameters, key, committed)
        return parameters.drop_duplicates([*keys, "seed"])
    if len(parameters.drop_duplicates(list(keys))) < 2:
        return parameters.drop_duplicates([*keys, "seed"])
    if data := drawn + [key for key in others if key.startswith("data.")]:
        advice = advise_value(data[0], parameters)
        raise UserError(f"the experiments validate on different images, as they differ in {', '.join(data)}: {advice}")
    if others:
        second = f"add {others[0]} as second PARAMETER, or " if len(keys) == 1 else ""
        advice = second + advise_value(others[0], parameters)
        raise UserError(f"the experiments differ in {', '.join(others)}, too: {advice}")
    return parameters.drop_duplicates([*keys, "seed"])


def varied(parameters: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Returns the parameters besides the seed and `keys` in which the rows differ."""
    differing = [str(key) for key, values in parameters.items() if values.nunique(dropna=False) > 1]
    return [key for key in differing if key not in (*keys, "seed")]


def has_value(parameters: pd.DataFrame, key: str, committed: Mapping[str, Any]) -> pd.Series:
    """Returns which rows have the committed value of a parameter, or lack it as the commit does."""
    return parameters[key] == committed[key] if key in committed else parameters[key].isna()


def leave_out(parameters: pd.DataFrame, key: str, committed: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the rows with the committed value of a parameter, and says how many others are left out."""
    kept = has_value(parameters, key, committed)
    names = [str(name) for name in parameters.index[~kept]]
    if names:
        reason = f"{key} is not the committed {committed[key]}" if key in committed else f"the commit has no {key}"
        print(f"Left out, as {reason}: {cli.counted(len(names), 'run')}, {cli.enumeration(names, 5)}.")
    return parameters[kept]


def advise_value(key: str, parameters: pd.DataFrame) -> str:
    """Advises to add KEY=VALUE to the command: the value of the first experiment, or one of the others."""
    first, *others = (str(value) for value in parameters[key].unique())
    return f"choose one, as with {key}={first} (others are {cli.enumeration(others)})."


def check_content(parameters: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of experiments, and of other runs with the same files of data.images, by their hashes.

    Raises:
        UserError: the files are not the same in all experiments.
    """
    own = [name for name in parameters.index if name in (baseline.COMMIT, experiments.WORKSPACE)]
    ordered = parameters.drop(index=own)
    if ordered.empty:
        return parameters
    first, path = ordered.index[0], ordered["data.images"].iloc[0]
    expected = experiments.hashes(first)["split"].get(path)
    other = [name for name in parameters.index if experiments.hashes(name)["split"].get(path) != expected]
    for name in other:
        if name not in own:
            remedy = "commit them, and run the experiments on that commit"
            raise UserError(f"{path} has other images in experiment {name} than in {first}: {remedy}.")
        print(f"Left out, as {path} had other images: the run of {name}.")
    return parameters.drop(index=other)


def common_seeds(points: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Returns the points of the seeds that most settings have, and of these settings: a seed has images of its own."""
    setting = points[list(keys)].astype(str).apply(tuple, axis=1)
    having = {seed: {*setting[points["seed"] == seed]} for seed in points["seed"].unique()}
    settings = max(having.values(), key=lambda own: (len(own), sum(own <= other for other in having.values())))
    seeds = [seed for seed, own in having.items() if settings <= own]
    kept = points["seed"].isin(seeds) & setting.isin(settings)
    if left_out := sorted({*points["seed"]} - {*seeds}):
        print(f"Not every setting has seed {', '.join(map(str, left_out))}: left out.")
    for values in points.loc[~setting.isin(settings), list(keys)].drop_duplicates().itertuples(index=False):
        text = ", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))
        print(f"Left out, as it has no run with seed {', '.join(map(str, seeds))}: {text}.")
    return points[kept]


def check_settings(
    points: pd.DataFrame, keys: Sequence[str], committed: Mapping[str, Any], changed: Iterable[str]
) -> None:
    """Raises a UserError, with what to run, if all points have the same setting of `keys`.

    `changed` are the parameters that the workspace changes: an experiment would take them along.
    """
    if len(points.drop_duplicates(list(keys))) > 1:
        return
    only = {key: points[key].iloc[0] for key in keys}
    missing = {key: committed[key] for key in keys if committed[key] != only[key]}  # has not run, or not on this seed
    seed = {"seed": points["seed"].iloc[0]} if points["seed"].iloc[0] != committed["seed"] else {}
    back = {key: committed[key] for key in changed if key in committed and key not in keys}
    example = baseline.options((missing or {keys[0]: "VALUE"}) | seed | back)
    raise UserError(
        f"there is nothing to compare: {baseline.arguments(only)} is the only setting that has run. Run another one, "
        f"`dvc exp run --temp {example} plot`, then this again."
    )


def score_text(names: pd.Series) -> str:
    """Returns the mean test accuracy and loss of experiments as a text."""
    for name in names:
        if not baseline.is_tested(name):
            apply = "" if name in (baseline.COMMIT, experiments.WORKSPACE) else f"`dvc exp apply {name}`, then "
            return f"not tested yet ({apply}`dvc repro`)"
    scores = pd.DataFrame([experiments.scores(name) for name in names]).mean()
    images = sum(experiments.counts(names.iloc[0], "test").values())
    return f"accuracy {scores['finetuned accuracy']:.4f}, loss {scores['finetuned loss']:.4f} on {images} images"


def draw(points: pd.DataFrame, settings: pd.DataFrame, keys: Sequence[str], title: str) -> Figure:
    """Draws accuracy above and loss below: a point per run, a line through the means, a ring around the best.

    `points` has a row per run with the columns of `keys`, val_accuracy, val_loss, best and committed (bool: the run of
    the commit); `settings` has the means of val_accuracy and val_loss in a row per setting of `keys`.
    """
    key, *second = keys
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle("\n".join(base.plain(line, 110) for line in title.split("\n")), fontsize=11)
    upper, lower = figure.subplots(2, 1, sharex=True)
    place = places(points[key])
    values = sorted(settings[second[0]].unique(), key=rank) if second else [None]
    many = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(values)))
    colours = many if len(values) > 10 else [f"C{number}" for number in range(10)]
    lines = {}
    for axes, column in ((upper, "val_accuracy"), (lower, "val_loss")):
        set_limits(axes, points[column], 1 if column == "val_accuracy" else None)
        for colour, value in zip(colours, values, strict=False):
            rows, means = (x[x[second[0]] == value] if second else x for x in (points, settings))
            axes.plot(rows[key].map(place), rows[column], "o", color=colour, alpha=0.4, markersize=4, clip_on=False)
            [lines[str(value)]] = axes.plot(
                means[key].map(place), means[column], "-", color=colour, label=str(value), clip_on=False
            )
        for marked, marker, size in (("best", "o", 13), ("committed", "s", 17)):
            if points[marked].any():
                rows = points[points[marked]]
                x, y = place[rows[key].iloc[0]], rows[column].mean()
                axes.plot(x, y, marker, markersize=size, fillstyle="none", color="black", clip_on=False)
        axes.grid(alpha=0.3)
    upper.set_ylabel("Accuracy")
    upper.yaxis.set_major_formatter(base.percent)
    lower.set(xlabel=key, ylabel="Loss (cross-entropy)")
    set_axis(lower, place)
    if second:
        figure.legend(lines.values(), lines.keys(), title=second[0], loc="outside lower center", ncols=6)
    return figure


def set_limits(axes: Axes, values: pd.Series, most: float | None) -> None:
    """Lets the vertical axis end a little beyond the values, but neither below 0 nor above the highest possible one."""
    low, high = values.min(), values.max()
    margin = max(0.08 * (high - low), 0.02 * (most or high), 1e-6)  # of the same values, too
    axes.set_ylim(max(0, low - margin), high + margin if most is None else min(most, high + margin))


def places(values: pd.Series) -> dict[Hashable, Any]:
    """Returns the position of each value on the axis: the number itself, or 0, 1, 2, ... if texts are among them."""
    ordered = sorted(values.unique(), key=rank)
    if pd.api.types.is_numeric_dtype(values):
        return {value: value for value in ordered}
    return {value: place for place, value in enumerate(ordered)}


def set_axis(axes: Axes, place: dict[Hashable, Any]) -> None:
    """Labels the axis with the values that are drawn; makes it logarithmic for numbers over a wide range."""
    lowest, highest = min(place.values()), max(place.values())
    if list(place) != list(place.values()):
        axes.set_xticks(list(place.values()), [base.plain(str(value), 20) for value in place])
        return
    logarithmic = 0 < lowest * LOG_RANGE < highest
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in place):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(place) <= MOST_TICKS:
        axes.set_xticks(ticks := apart(list(place), np.log if logarithmic else float), [f"{x:g}" for x in ticks])


def apart(values: list, scale: Callable[[float], float]) -> list:
    """Returns the values, sorted, without those that are less than 6% of the axis from the one before."""
    width = scale(values[-1]) - scale(values[0])
    kept = values[:1]
    for value in values[1:]:
        if scale(value) - scale(kept[-1]) >= 0.06 * width:
            kept.append(value)
    return kept


if __name__ == "__main__":
    cli.run(main)
