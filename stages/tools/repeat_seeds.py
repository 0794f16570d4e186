"""Runs the same settings with several seeds and says how far the numbers spread.

    python -m stages.tools.repeat_seeds NAME [--seeds 5] [KEY=VALUE ...]

KEY=VALUE changes a parameter, as in finetune.fine_tune_at=100. Each seed is an experiment of DVC, NAME-seed-1 and so on, in
a temporary copy, which runs as far as the stage plot: the workspace stays as it is, and those that have run already are not
run again.
"""

import argparse
import math
import subprocess

import pandas as pd
from scipy import stats

from stages.common import cli
from stages.common.cli import UserError
from stages.tools import experiments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_intermixed_args()  # so that KEY=VALUE may follow --seeds
    if arguments.seeds < 2:
        raise UserError(f"--seeds is {arguments.seeds}, but a spread takes at least 2.")
    for change in arguments.changes:
        if "=" not in change:
            raise UserError(f"{change} must be KEY=VALUE, such as finetune.fine_tune_at=100.")
    names = [f"{arguments.name}-seed-{seed}" for seed in range(1, arguments.seeds + 1)]
    for seed, name in enumerate(names, start=1):
        run(name, [*arguments.changes, f"seed={seed}"])
    table = pd.DataFrame({seed: experiments.scores(name) for seed, name in enumerate(names, start=1)}).T
    print(table.T.to_markdown(floatfmt=".4f"), end="\n\n")
    print(summary(table, *experiments.counts(names[0])).to_markdown(floatfmt=".4f"))
    print("\nThe interval is for the mean over other divisions of these images (Nadeau and Bengio 2003).")


def run(name, changes):
    """Runs an experiment, unless there is one of this name and with these parameters."""
    if name in experiments.names():
        found = experiments.parameters(name)
        for key, value in (change.split("=", 1) for change in changes):
            if found.get(key) != experiments.YAML.load(value):
                raise UserError(
                    f"experiment {name} has {key}={found.get(key)}: take another NAME, or `dvc exp remove {name}`."
                )
        return
    settings = [part for change in changes for part in ("-S", change)]
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *settings, "plot"]).returncode:
        raise UserError(f"experiment {name} failed, see above. Those before it are kept: mend it and run this again.")


def summary(table, train_count, test_count):
    """Returns mean, standard deviation and 95% interval of every column.

    The repeats divide the same images anew, so that they are not independent. The interval is that of the corrected
    resampled t-test (C. Nadeau, Y. Bengio, Machine Learning 52, 2003, eq. 9): the variance of the mean of n repeats is
    sd^2 * (1 / n + test_count / train_count), with n - 1 degrees of freedom.
    """
    n = len(table)
    deviation = table.std(ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation * math.sqrt(1 / n + test_count / train_count)
    mean = table.mean()
    return pd.DataFrame({"mean": mean, "standard deviation": deviation, "from": mean - half, "to": mean + half})


if __name__ == "__main__":
    cli.run(main)
