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
    train, test = (list(experiments.counts(names[1], split).values()) for split in ("train", "test"))
    by_seed, by_score = table[SHOWN].rename_axis("seed"), summary(table, train, test).rename_axis("score")
    meaning = "The intervals are for the mean over other random splits, of these images or of others like them."
    tables = [terminal.table(frame.reset_index()) for frame in (by_seed, by_score)]
    terminal.show("", tables[0], "", tables[1], "", meaning)


def run_missing(wanted: Mapping[str, Sequence[str]]) -> None:
    """Runs the experiments, given as changes of parameters by name, that have not finished yet.

    Raises:
        UserError: a change is malformed; an experiment failed, or has finished with other parameters.
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
