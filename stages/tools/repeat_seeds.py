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

import numpy as np
import pandas as pd
from scipy import stats

from stages.common import cli, terminal
from stages.common.cli import UserError
from stages.tools import experiments

OF_ALL_IMAGES, OF_CLASSES = ["accuracy", "top5_accuracy"], ["auc", "precision", "recall", "f1"]  # fractions of images
SHOWN = ["frozen accuracy", "frozen loss", "finetuned accuracy", "finetuned loss"]  # scores that the table has
UNBOUNDED = ["loss", "calibrated_loss", "temperature"]  # all others are at most 1


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
    terminal.show(
        "",
        terminal.table(table[SHOWN].rename_axis("seed").reset_index()),
        "",
        terminal.table(summary(table, *experiments.counts(names[1])).rename_axis("score").reset_index()),
        "",
        "The intervals are for the mean over other random splits, of these images or of others like them.",
    )


def run_missing(wanted: Mapping[str, Sequence[str]]) -> None:
    """Runs the experiments, given as changes of parameters by name, that have not finished yet.

    Raises:
        UserError: an experiment failed, or has finished with other parameters.
    """
    all_changes = dict.fromkeys(change for changes in wanted.values() for change in changes)
    for change in all_changes:
        experiments.setting(change)
    missing = dict(wanted)
    for name in experiments.names():
        if name in missing:
            check(name, missing.pop(name))
    if missing:
        experiments.check_paths(all_changes)
    for name, changes in missing.items():
        with experiments.run(name, changes) as lines:
            for line in lines:
                print(line, end="", flush=True)


def check(name: str, changes: Sequence[str]) -> None:
    """Raises a UserError if the finished experiment has other parameters than these changes."""
    found = experiments.parameters(name)
    for change in changes:
        key, value = experiments.setting(change)
        if found.get(key) != value:
            actual = f"{key}={found.get(key)}"
            raise UserError(f"experiment {name} has {actual}: take another NAME, or `dvc exp remove {name}`.")


def summary(table: pd.DataFrame, train: Sequence[int], test: Sequence[int]) -> pd.DataFrame:
    """Returns mean, standard deviation and 95% interval of every column.

    Repeats share images, so they are not independent: the variance of the mean of n repeats is taken as
    sd^2 * (1 / n + test / train), with n - 1 degrees of freedom (C. Nadeau, Y. Bengio, Machine Learning 52, 2003,
    eq. 9). So that the interval stays in the range of the score, it is a score interval (E. B. Wilson, JASA 22, 1927):
    it holds every value that the mean is not significantly far from, if the variance at a value m is in proportion to
    m * (1 - m), or to m for a score without an upper bound. A fraction of images varies at least as that of so many
    independent ones, which matters where all repeats are equal (an effective sample size, as in E. L. Korn,
    B. I. Graubard, Survey Methodology 24, 1998). `python -m tests.benchmarks.repeat_intervals` measures the coverage.

    Args:
        table: a row per repeat, a column per score, none negative; the last word of its name is the metric.
        train, test: images of each class in the training split and in the test split.
    """
    n, metric = len(table), table.columns.str.split().str[-1]
    mean, deviation = table.mean().to_numpy(), table.std(ddof=1).to_numpy()
    factor = 1 / n + sum(test) / sum(train)
    # Of two classes the metrics are those of the second, of more the macro averages.
    of_classes = test[1] if len(test) == 2 else len(test) ** 2 / sum(1 / count for count in test)
    images = metric.map(dict.fromkeys(OF_ALL_IMAGES, sum(test)) | dict.fromkeys(OF_CLASSES, of_classes)).to_numpy(float)
    bounded = ~metric.isin(UNBOUNDED)
    scale = mean * np.where(bounded, 1 - mean, 1)
    with np.errstate(invalid="ignore"):
        observed = (stats.t.ppf(0.975, n - 1) * deviation) ** 2 * factor / scale  # not a number if all are 0, or 1
    spread = np.nan_to_num(np.fmax(observed, stats.norm.ppf(0.975) ** 2 * factor / images))
    half = np.sqrt(spread * scale + spread**2 / 4)
    ends = (mean + spread / 2 + np.array([-half, half])) / np.where(bounded, 1 + spread, 1)
    low, high = np.clip(ends, 0, np.where(bounded, 1, np.inf))
    columns = {"mean": mean, "standard deviation": deviation, "from": low, "to": high}
    return pd.DataFrame(columns, index=table.columns)


if __name__ == "__main__":
    cli.run(main)
