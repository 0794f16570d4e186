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
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import optuna

from stages.common import cli, params, terminal
from stages.common.cli import UserError
from stages.tools import baseline, experiments

LARGEST = 1e15  # end of a range, up to which floating-point numbers hold every whole number
STORAGE = Path(".dvc/tmp/search.db")


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("space", nargs="+", metavar="KEY=VALUES")
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_intermixed_args()
    for text in arguments.space:
        experiments.setting(text)
    space = [text.split("=", 1) for text in arguments.space]
    check_space(space)
    known = experiments.parameters(baseline.COMMIT)
    experiments.check_paths(f"{key}={choice}" for key, values in space for choice in choices(values))
    study_name = " ".join([experiments.commit(), arguments.name, *arguments.space])
    check_storage()
    storage = f"sqlite:///{STORAGE}"
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=known["train_frozen.epochs"] + 3)  # not before this epoch
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the name of a new study says nothing to people
    study = optuna.create_study(storage=storage, pruner=pruner, study_name=study_name, load_if_exists=True)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
    study.optimize(lambda trial: run(trial, arguments.name, space), arguments.trials - done)
    trials = study.trials_dataframe(("number", "state", "value", "params"))
    trials = trials.rename(columns=lambda name: "val_loss" if name == "value" else name.removeprefix("params_"))
    terminal.show(terminal.table(trials, "{:.4g}"), "", describe(study, arguments.name))


def check_space(space: Sequence[Sequence[str]]) -> None:
    """Raises a UserError if a key is no parameter, or one of its values, or an end of its range, is not allowed."""
    fields = dict(params.fields())
    for key, values in space:
        params.check_name(key)
        if is_range(key, values) and key in fields and fields[key].annotation is int and not is_whole(values):
            raise UserError(f"{key}={values} must lie between whole numbers, as {key} is one.")
    candidates = {key: values.split("..") if is_range(key, values) else choices(values) for key, values in space}
    first = {key: values[0] for key, values in candidates.items()}
    experiments.check_changes(f"{key}={value}" for key, value in first.items())
    for key, others in candidates.items():
        for value in others[1:]:
            experiments.check_changes(f"{x}={y}" for x, y in (first | {key: value}).items())


def describe(study: optuna.Study, name: str) -> str:
    """Says in words which trial is the best, whether it is better than the committed run, and what to do."""
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        return "No trial has finished, so there is nothing to apply: the errors of trials stand above."
    best = f"{name}-trial-{study.best_trial.number}"
    loss, changes = study.best_value, baseline.changes(best)
    text = f"The best trial is {best}, with {baseline.describe_changes(changes)}. "
    seeds = {experiments.parameters(revision)["seed"] for revision in (best, baseline.COMMIT)}
    other_images = len(seeds) > 1 or any(key.startswith("data.") for key in changes)
    if other_images or not experiments.is_run(baseline.COMMIT):
        text += f"Its validation loss is {loss:.3g}; the committed settings have no run on the same validation images."
    else:
        found, committed = experiments.validation(best), experiments.validation(baseline.COMMIT)
        if committed["val_loss"] <= loss:
            losses = f"{loss:.3g}, and that of the committed settings is {committed['val_loss']:.3g}"
            return f"{text}Its validation loss is {losses}: keep them."
        images = sum(experiments.counts(best, "validation").values())
        text += baseline.describe_gain(found, committed, images)
    apply = f"`dvc exp apply {best}`, then `dvc repro`, brings it into the workspace."
    return f"{text}\n{apply} {baseline.advise_repeats(best)}"


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
    shown: list[str] = []
    try:
        with experiments.run(name, changes) as lines:
            for epoch, loss in experiments.epochs(kept(lines, shown)):
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
    except KeyboardInterrupt:
        trial.study.stop()
        return float("nan")
    except UserError:
        print(*shown, sep="", end="", file=sys.stderr)
        return float("nan")
    return experiments.validation(name)["val_loss"]


def kept(lines: Iterable[str], all_lines: list[str]) -> Iterator[str]:
    """Yields lines and appends each to a list."""
    for line in lines:
        all_lines.append(line)
        yield line


def suggest(trial: optuna.Trial, key: str, values: str) -> str:
    """Returns KEY=VALUE with one of A,B,C or a number from LOW to HIGH, on a log scale if HIGH is 30 * LOW or more."""
    if not is_range(key, values):
        return f"{key}={trial.suggest_categorical(key, choices(values))}"
    ends = [experiments.setting(f"{key}={end}")[1] for end in values.split("..")]
    if not all(abs(end) <= LARGEST for end in ends):  # nan, too
        raise UserError(f"{key}={values} must lie between numbers up to {LARGEST:.0e}.")
    if all(isinstance(end, int) for end in ends):
        return f"{key}={trial.suggest_int(key, min(ends), max(ends))}"
    return f"{key}={trial.suggest_float(key, min(ends), max(ends), log=0 < 30 * min(ends) <= max(ends)):.3g}"


def is_range(key: str, values: str) -> bool:
    """Whether values are LOW..HIGH, two numbers."""
    ends = [experiments.setting(f"{key}={end}")[1] for end in values.split("..")]
    return len(ends) == 2 and all(isinstance(end, int | float) for end in ends)


def is_whole(values: str) -> bool:
    """Whether both ends of LOW..HIGH are written as whole numbers."""
    return all(re.fullmatch(r"[+-]?\d+", end) for end in values.split(".."))


def choices(values: str) -> list[str]:
    """Splits A,B,C at its commas, except those within single quotes."""
    try:
        return next(csv.reader([values], quotechar="'")) or [""]
    except csv.Error as error:
        raise UserError(f"{values!r} are no values A,B,C: {error}.") from None


if __name__ == "__main__":
    cli.run(main)
