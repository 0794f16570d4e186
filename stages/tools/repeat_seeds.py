"""Repeats an experiment with several seeds and reports mean, standard deviation and 95% interval of its scores.

    python -m stages.tools.repeat_seeds NAME [--seeds 5] [KEY=VALUE ...]

KEY=VALUE changes a parameter, as in finetune.fine_tune_at=100. Each seed is an experiment of DVC, NAME-seed-1 and so
on, in a temporary copy, which runs as far as the stage plot: the workspace stays as it is, and experiments that have
finished are not run again.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import argparse
import math
import subprocess
from collections.abc import Sequence

import pandas as pd
import ruamel.yaml
from scipy import stats

from stages.common import cli
from stages.common.cli import UserError
from stages.tools import experiments

YAML = ruamel.yaml.YAML(typ="safe")  # as DVC reads values: 1e-05 is a number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_intermixed_args()  # so that KEY=VALUE may follow --seeds
    if arguments.seeds < 2:
        raise UserError(f"--seeds is {arguments.seeds}, but a standard deviation takes at least 2.")
    for change in arguments.changes:
        if "=" not in change:
            raise UserError(f"{change} must be KEY=VALUE, such as finetune.fine_tune_at=100.")
    names = {seed: f"{arguments.name}-seed-{seed}" for seed in range(1, arguments.seeds + 1)}
    finished = experiments.names()
    for seed, name in names.items():
        changes = [*arguments.changes, f"seed={seed}"]
        if name in finished:
            check(name, changes)
        else:
            run(name, changes)
    table = pd.DataFrame({seed: experiments.scores(name) for seed, name in names.items()})
    print(table.to_markdown(floatfmt=".4f"), end="\n\n")
    print(summary(table.T, *experiments.counts(names[1])).to_markdown(floatfmt=".4f"))
    print("\nThe interval is for the mean over other random splits of these images (Nadeau and Bengio 2003).")


def check(name: str, changes: Sequence[str]) -> None:
    """Raises a UserError if the finished experiment has other parameters than these changes."""
    found = experiments.parameters(name)
    for change in changes:
        key, value = change.split("=", 1)
        if found.get(key) != YAML.load(value):
            raise UserError(
                f"experiment {name} has {key}={found.get(key)}: take another NAME, or `dvc exp remove {name}`."
            )


def run(name: str, changes: Sequence[str]) -> None:
    """Runs an experiment in a temporary copy, as far as the stage plot."""
    settings = [part for change in changes for part in ("-S", change)]
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *settings, "plot"]).returncode:
        raise UserError(
            f"experiment {name} failed, see above. Those before it are kept: correct the cause and run this again."
        )


def summary(table: pd.DataFrame, train_count: int, test_count: int) -> pd.DataFrame:
    """Returns mean, standard deviation and 95% interval of every column.

    The repeats split the same images at random, so they are not independent. The interval is that of the corrected
    resampled t-test (C. Nadeau, Y. Bengio, Machine Learning 52, 2003, eq. 9): the variance of the mean of n repeats is
    sd^2 * (1 / n + test_count / train_count), with n - 1 degrees of freedom.

    Args:
        table: a row per repeat, a column per score.
        train_count, test_count: images in the training split and in the test split.
    """
    n = len(table)
    deviation = table.std(ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation * math.sqrt(1 / n + test_count / train_count)
    mean = table.mean()
    return pd.DataFrame({"mean": mean, "standard deviation": deviation, "from": mean - half, "to": mean + half})


if __name__ == "__main__":
    cli.run(main)
