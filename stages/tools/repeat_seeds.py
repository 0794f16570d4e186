"""Repeats an experiment with several seeds and reports mean, standard deviation and 95% interval of its scores.

    python -m stages.tools.repeat_seeds NAME [--seeds N] [KEY=VALUE ...]

    NAME       name of the repeats; their experiments are NAME-seed-1, NAME-seed-2 and so on
    --seeds N  number of repeats, at least 2 (5)
    KEY=VALUE  change of a parameter in all repeats, as in finetune.fine_tune_at=100

Each seed is an experiment of DVC in a temporary copy, which runs as far as the stage plot: the workspace stays as it
is, and experiments that have finished are not run again.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

from collections.abc import Mapping, Sequence

import pandas as pd

from stages.common import cli, terminal
from stages.common.cli import UserError
from stages.statistics import intervals
from stages.tools import baseline, experiments

# Fractions of images: of all, and of those of a class.
OF_ALL_IMAGES, OF_CLASSES = ["accuracy", "top5_accuracy", "set_coverage"], ["auc", "precision", "recall", "f1"]
SHOWN = ["frozen accuracy", "frozen loss", "finetuned accuracy", "finetuned loss"]  # scores that the table has
INTERVALS = (
    "The intervals are for the mean over other random splits, of these images or of others like them. They allow for "
    "images that the splits share (corrected variance of Nadeau and Bengio)."
)
UNBOUNDED = ["loss", "calibrated_loss", "temperature", "set_size"]  # all others are at most 1


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_intermixed_args()  # so that KEY=VALUE may follow --seeds
    if arguments.seeds < 2:
        raise UserError(f"--seeds is {arguments.seeds}, but a standard deviation takes at least 2.")
    names = {seed: f"{arguments.name}-seed-{seed}" for seed in range(1, arguments.seeds + 1)}
    run_missing({name: [*arguments.changes, f"seed={seed}"] for seed, name in names.items()})
    table = pd.DataFrame({seed: experiments.scores(name) for seed, name in names.items()}).T
    train, test = (list(experiments.counts(names[1], split).values()) for split in ("train", "test"))
    by_seed, by_score = table[SHOWN].rename_axis("seed"), summary(table, train, test).rename_axis("score")
    tables = [terminal.table(frame.reset_index()) for frame in (by_seed, with_heading(by_score))]
    accuracy = table["finetuned accuracy"]
    terminal.show("", tables[0], "", tables[1], "", INTERVALS, describe(accuracy, by_score.loc[accuracy.name]))
    if comparison := compare_with_commit(arguments.name, accuracy, sum(test)):
        terminal.show(comparison)


def with_heading(by_score: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of `summary` with the ends of the intervals in one column."""
    ends = zip(by_score["from"], by_score["to"], strict=True)
    interval = [f"{low:.4f} to {high:.4f}" for low, high in ends]
    return by_score[["mean", "standard deviation"]].assign(**{"95% interval of the mean": interval})


def describe(accuracy: pd.Series, row: pd.Series) -> str:
    """Says in words what the repeats' accuracies show; `row` is theirs of `summary`."""
    low, high = accuracy.min(), accuracy.max()
    single = f"each seed has {low:.4f}" if low == high else f"single seeds have {low:.4f} to {high:.4f}"
    return (
        f"Fine-tuned, the mean test accuracy over {len(accuracy)} seeds is {row['mean']:.4f} (95% interval "
        f"{row['from']:.4f} to {row['to']:.4f}); {single}."
    )


def compare_with_commit(name: str, accuracy: pd.Series, images: int) -> str:
    """Says in words what the difference from the committed run means, or nothing if that has no such test images.

    A further seed's accuracy lies with 95% in the prediction interval mean +- t * sd * sqrt(1 + 1 / n) of a normal
    distribution, with n - 1 degrees of freedom; it is widened by one of the test images, the accuracy's step.
    """
    from scipy import stats

    changes = baseline.changes(f"{name}-seed-1")
    other_images = any(key.startswith("data.") for key in changes)
    if other_images or not experiments.is_run(baseline.COMMIT) or not baseline.is_tested(baseline.COMMIT):
        return ""
    committed, n = experiments.scores(baseline.COMMIT)[accuracy.name], len(accuracy)
    seed = experiments.parameters(baseline.COMMIT)["seed"]
    half = stats.t.ppf(0.975, n - 1) * accuracy.std(ddof=1) * (1 + 1 / n) ** 0.5 + 1 / images
    difference = abs(accuracy.mean() - committed)
    if difference < 0.00005:
        meaning = "as the mean"
    elif difference <= half:
        meaning = f"{difference:.4f} away from the mean: another seed alone may do that"
    else:
        meaning = f"{difference:.4f} away from the mean: more than another seed alone explains"
    text = f"The committed run, seed {seed}, has {committed:.4f}, {meaning}."
    if not changes:
        return text
    return (
        f"{text} Whether {baseline.arguments(changes)} helps, the same seeds of the committed settings say:\n"
        f"    {baseline.repeat('committed', baseline.COMMIT, f'{name}-seed-1')}\n"
        f"    python -m stages.tools.compare committed {name}"
    )


def run_missing(wanted: Mapping[str, Sequence[str]]) -> None:
    """Runs the experiments, given as changes of parameters by name, that have not finished yet.

    Raises:
        UserError: a change is wrong; an experiment failed, or has finished with other parameters.
    """
    all_changes = dict.fromkeys(change for changes in wanted.values() for change in changes)
    for changes in wanted.values():
        experiments.check_changes(changes)
    missing = dict(wanted)
    for name in experiments.names():
        if name in missing:
            check(name, missing.pop(name))
    if missing:
        experiments.check_paths(all_changes)
    if finished := [name for name in wanted if name not in missing]:
        print(f"Finished before: {cli.enumeration(finished)}.")
    for number, (name, changes) in enumerate(missing.items(), 1):
        print(f"\nExperiment {number} of {len(missing)}, {name}: {' '.join(changes)}", flush=True)
        with experiments.run(name, changes) as lines:
            for line in lines:
                print(line, end="", flush=True)


def check(name: str, changes: Sequence[str]) -> None:
    """Raises a UserError if the finished experiment has other parameters than these changes."""
    found = experiments.parameters(name)
    for change in changes:
        key, value = experiments.setting(change)
        if (actual := found.get(key)) != value:
            raise UserError(f"experiment {name} has {key}={actual}: take another NAME, or `dvc exp remove {name}`.")


def summary(table: pd.DataFrame, train: Sequence[int], test: Sequence[int]) -> pd.DataFrame:
    """Returns mean, standard deviation and 95% interval (intervals.of_repeats) of every column.

    Args:
        table: a row per repeat, a column per score, none negative; the last word of its name is the metric.
        train, test: images of each class in the training split and in the test split.
    """
    metric = table.columns.str.split().str[-1]
    # Of two classes the metrics are those of the second, of more the macro averages.
    of_classes = test[1] if len(test) == 2 else len(test) ** 2 / sum(1 / count for count in test)
    images = metric.map(dict.fromkeys(OF_ALL_IMAGES, sum(test)) | dict.fromkeys(OF_CLASSES, of_classes)).to_numpy(float)
    low, high = intervals.of_repeats(table, sum(test) / sum(train), images, ~metric.isin(UNBOUNDED))
    columns = {"mean": table.mean(), "standard deviation": table.std(ddof=1)}
    return pd.DataFrame(columns).assign(**{"from": low, "to": high})


if __name__ == "__main__":
    cli.run(main)
