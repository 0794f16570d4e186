"""Searches for parameters with a low validation loss, with Optuna; each trial is an experiment of DVC.

    python -m stages.tools.search NAME [--trials N] KEY=VALUES...

    NAME           name of the search; its experiments are NAME-trial-0, NAME-trial-1 and so on
    --trials N     number of trials (20), those of a stopped search included
    KEY=LOW..HIGH  search this parameter between two numbers, both included
    KEY=A,B,C      search this parameter among these values; 'A,B' is one value with a comma
    KEY=VALUE      set this parameter in all trials

Trials run in temporary copies as far as plot, or are pruned. .dvc/tmp/search.db keeps them: the same command goes on.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import contextlib
import csv
import sqlite3
from pathlib import Path

import optuna

from stages.common import cli, terminal
from stages.common.cli import UserError
from stages.tools import experiments

LARGEST = 1e15  # end of a range, up to which floating-point numbers hold every whole number
STORAGE = Path(".dvc/tmp/search.db")


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("space", nargs="+", metavar="KEY=VALUES")
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_intermixed_args()
    known = experiments.parameters("HEAD", [text.split("=")[0] for text in arguments.space])
    for text in arguments.space:
        experiments.setting(text)
    space = [text.split("=", 1) for text in arguments.space]
    experiments.check_paths(f"{key}={choice}" for key, values in space for choice in choices(values))
    study_name = " ".join([experiments.commit(), arguments.name, *arguments.space])
    check_storage()
    storage = f"sqlite:///{STORAGE}"
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=known["train_frozen.epochs"] + 3)  # not before this epoch
    study = optuna.create_study(storage=storage, pruner=pruner, study_name=study_name, load_if_exists=True)
    done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
    study.optimize(lambda trial: run(trial, arguments.name, space), arguments.trials - done)
    trials = study.trials_dataframe(("number", "state", "value", "params"))
    trials = trials.rename(columns=lambda name: "val_loss" if name == "value" else name.removeprefix("params_"))
    terminal.show(terminal.table(trials, "{:.4g}"))


def check_storage() -> None:
    """Raises a UserError if the file of trials is damaged."""
    if not STORAGE.exists():
        return
    with contextlib.closing(sqlite3.connect(STORAGE)) as database:
        try:
            whole = STORAGE.stat().st_size > 0 and database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        except sqlite3.DatabaseError:
            whole = False
    if not whole:
        raise UserError(f"{STORAGE} is damaged. Delete it and take another NAME: the experiments are kept.")


def run(trial: optuna.Trial, name: str, space: list[list[str]]) -> float:
    """Returns the validation loss of a trial, or nan if it failed; a trial worse than the median is pruned."""
    name, changes = f"{name}-trial-{trial.number}", [suggest(trial, key, values) for key, values in space]
    try:
        with experiments.run(name, changes) as lines:
            for epoch, loss in experiments.epochs(lines):
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
    except KeyboardInterrupt:
        trial.study.stop()
        return float("nan")
    except UserError:
        return float("nan")
    return experiments.validation(name)["val_loss"]


def suggest(trial: optuna.Trial, key: str, values: str) -> str:
    """Returns KEY=VALUE with one of A,B,C or a number from LOW to HIGH, on a log scale if HIGH is 30 * LOW or more."""
    ends = [experiments.setting(f"{key}={end}")[1] for end in values.split("..")]
    if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        return f"{key}={trial.suggest_categorical(key, choices(values))}"
    if not all(abs(end) <= LARGEST for end in ends):  # nan, too
        raise UserError(f"{key}={values} must lie between numbers up to {LARGEST:.0e}.")
    if all(isinstance(end, int) for end in ends):
        return f"{key}={trial.suggest_int(key, min(ends), max(ends))}"
    return f"{key}={trial.suggest_float(key, min(ends), max(ends), log=0 < 30 * min(ends) <= max(ends)):.3g}"


def choices(values: str) -> list[str]:
    """Splits A,B,C at its commas, except those within single quotes."""
    try:
        return next(csv.reader([values], quotechar="'")) or [""]
    except csv.Error as error:
        raise UserError(f"{values!r} are no values A,B,C: {error}.") from None


if __name__ == "__main__":
    cli.run(main)
