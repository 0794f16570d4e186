"""Compares two models image by image, on the same test images with the same labels, with a paired test.

    python -m stages.tools.compare [A [B]]

    A  an experiment, a revision of git, or a name given to `python -m stages.tools.repeat_seeds`
       (HEAD, the last commit)
    B  another one (workspace, what `dvc repro` has just made); the experiments of two names of
       repeats are paired seed by seed

The labels are those of B: after labels were corrected, both models are measured by the corrected ones. Images that only
one of both was tested on are left out. Reads the outputs of `split` and `evaluate` of both; writes nothing.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd
from rich.table import Table

from stages.common import cli, terminal
from stages.common.cli import UserError, counted, enumeration, printable
from stages.statistics import paired_changes, paired_test
from stages.statistics.paired_changes import Change
from stages.tools import evaluated_run, experiments
from stages.tools.evaluated_run import EvaluatedRun

CHANGED = {1: "is higher by more than noise", 0: "is the same within noise", -1: "is lower by more than noise"}
FLATTERED = (
    "WARNING: Test labels that were corrected because a model doubted them flatter both models, and the new one more. "
    "The fair number is the accuracy where no label was corrected, or that on images that were reviewed whatever the "
    "model said."
)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("a", metavar="A", nargs="?", default="HEAD")
    parser.add_argument("b", metavar="B", nargs="?", default=experiments.WORKSPACE)
    arguments = parser.parse_args()
    a, b = arguments.a, arguments.b
    if a == b:
        raise UserError(f"{a} is both A and B: name two different ones.")
    names = [] if (a, b) == ("HEAD", experiments.WORKSPACE) else experiments.names()
    runs = [(EvaluatedRun.read(x), EvaluatedRun.read(y)) for x, y in pair(a, b, names)]
    terminal.show(*describe(runs, a, b))


def pair(a: str, b: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the pairs of revisions to compare: seed by seed where both are repeats, or (a, b) itself."""
    seeds_of_a, seeds_of_b = seeds(a, names), seeds(b, names)
    if not seeds_of_a and not seeds_of_b:
        return [(a, b)]
    if not seeds_of_a or not seeds_of_b:
        raise UserError(f"of {a} and {b}, one is a name of repeats and the other is not: compare like with like.")
    common = sorted(seeds_of_a & seeds_of_b, key=int)
    if not common:
        raise UserError(f"{a} and {b} have no seed in common: run both with `python -m stages.tools.repeat_seeds`.")
    return [(f"{a}-seed-{seed}", f"{b}-seed-{seed}") for seed in common]


def seeds(name: str, names: Iterable[str]) -> set[str]:
    """Returns the seeds of the repeats of `name` among the names of experiments."""
    matches = (re.fullmatch(re.escape(name) + r"-seed-(\d+)", other) for other in names)
    return {match[1] for match in matches if match}


def describe(runs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], a: str, b: str) -> list[str | Table]:
    """Returns what is printed of pairs of runs, which together are called `a` and `b`."""
    if b == experiments.WORKSPACE and all(before.is_same_as(after) for before, after in runs):
        raise UserError(
            f"{a} and {b} have the same test images, labels and predictions: there is nothing to compare. After a "
            "change, run `dvc repro` first; after a commit, name an earlier one, as in HEAD~1."
        )
    tables = [evaluated_run.pair(before, after) for before, after in runs]
    for (before, after), images in zip(runs, tables, strict=True):
        if images.empty:
            names = f"{before.revision} and {after.revision}"
            raise UserError(f"{names} have no test image in common: give them the same data and the same seed.")
    table = pd.concat(tables, ignore_index=True)
    accuracy, loss = paired_changes.of_accuracy(table), loss_change(table)
    lines: list[str | Table] = [*scope(runs, table, a, b), "", scores(table, accuracy, loss, a, b), ""]
    if len(runs) > 1:
        lines += [*by_seed(runs, tables), ""]
    lines += [paired_test.describe_difference(table, a, b), verdict(table, accuracy, loss, b)]
    return lines + corrected(runs, table, a)


def scope(runs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], table: pd.DataFrame, a: str, b: str) -> list[str]:
    """Says on which images and labels both models are compared, and what is left out."""
    lines = [f"Compared on {counted(table['path'].nunique(), 'test image')}, with the labels of {b}."]
    for name, place in ((a, 0), (b, 1)):
        if left_out := sum(len(run[place].images) for run in runs) - len(table):
            verb = "is" if left_out == 1 else "are"
            lines.append(f"{counted(left_out, 'image')} that only {name} was tested on {verb} left out.")
    if unknown := Counter(table.loc[~table["known"], "actual"]):
        classes = enumeration([printable(name) for name in sorted(unknown)])
        lines.append(
            f"{a} does not know {classes}: {counted(unknown.total(), 'image')} of that "
            f"{'counts as wrong, and is' if unknown.total() == 1 else 'count as wrong, and are'} left out of the loss."
        )
    missing = [run.revision for runs_of_pair in runs for run in runs_of_pair if run.probabilities is None]
    if missing:
        names = enumeration(missing)
        lines.append(f"DVC's cache lacks data/evaluation/probabilities.npy of {names}: losses are not compared.")
    return lines


def loss_change(table: pd.DataFrame) -> Change | None:
    """Returns the change of the loss over images whose class both know, None where probabilities are missing."""
    known = table[table["known"]]
    if known.empty or known[["loss_a", "loss_b"]].isna().any(axis=None):
        return None
    return paired_changes.of_loss(known)


def scores(table: pd.DataFrame, accuracy: Change, loss: Change | None, a: str, b: str) -> Table:
    """Returns the scores of both models as a table, with the 95% intervals of their changes."""
    changes = {"accuracy": accuracy}
    uncorrected = table[~table["corrected"]]
    if 0 < len(uncorrected) < len(table):
        name = f"accuracy on the {len(uncorrected):,} whose label was not corrected"
        changes[name] = paired_changes.of_accuracy(uncorrected)
    if loss:
        changes["loss"] = loss
    rows = [
        {"": name, a: change.before, b: change.after, "change, with its 95% interval": with_interval(change)}
        for name, change in changes.items()
    ]
    return terminal.table(pd.DataFrame(rows))


def with_interval(change: Change) -> str:
    """Returns a difference with its interval: "+0.0500 [-0.0100, +0.1100]"."""
    return "{} [{}, {}]".format(*map(signed, (change.difference, change.low, change.high)))


def signed(value: float) -> str:
    return f"{round(value, 4) + 0:+.4f}"  # + 0: no -0.0000


def by_seed(runs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], tables: Sequence[pd.DataFrame]) -> list[str | Table]:
    """Returns the changes of each pair of repeats as a table, and their mean and standard deviation in words."""
    rows = []
    for (_, after), table in zip(runs, tables, strict=True):
        row = {"seed": after.revision.rpartition("-")[2], "accuracy": (table["b"] * 1.0 - table["a"]).mean()}
        rows.append(row | {"loss": (table["loss_b"] - table["loss_a"])[table["known"]].mean()})
    changes = pd.DataFrame(rows).set_index("seed").dropna(axis=1)
    spread = [
        f"{name} {signed(x.mean())} on average, from {signed(x.min())} to {signed(x.max())}, standard deviation "
        f"{x.std(ddof=1):.4f}"
        for name, x in changes.items()
    ]
    shown = changes.map(signed).rename(columns=lambda name: f"change of {name}").reset_index()
    return [terminal.table(shown), "", f"Over {counted(len(runs), 'seed')}: {'; '.join(spread)}."]


def verdict(table: pd.DataFrame, accuracy: Change, loss: Change | None, b: str) -> str:
    """Says whether `b` is better: by its accuracy, which the paired test judges, and by its loss."""
    flips = paired_test.count_flips(table)
    significant = flips["p_value"] < paired_test.SIGNIFICANCE
    of_accuracy = (1 if accuracy.difference > 0 else -1) if significant else 0
    words = [f"its accuracy {CHANGED[of_accuracy]}"]
    if not flips["gained"] and not flips["lost"]:
        words = ["its accuracy is the same"]
    of_loss = loss.direction if loss else 0
    if loss:
        values = f"{loss.before:.4f} -> {loss.after:.4f}"
        words.insert(0 if of_loss and not of_accuracy else 1, f"its loss {CHANGED[of_loss]} ({values})")
    better, worse = of_accuracy > 0 or of_loss < 0, of_accuracy < 0 or of_loss > 0
    summary = f"{b} is {'better' if better else 'worse'}" if better != worse else "Neither is better in both"
    if not better and not worse:
        summary = f"{b} is neither better nor worse beyond noise"
    return f"{summary}: {', and '.join(words)}."


def corrected(runs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], table: pd.DataFrame, a: str) -> list[str | Table]:
    """Says how many corrections were in test, and what of the change they alone make."""
    counts: Counter[str] = Counter()
    for before, after in runs:
        counts += Counter(evaluated_run.count_corrections(before, after))
    lines: list[str | Table] = []
    if counts:
        meanings = {"changed": "changed a test label", "confirmed": "confirmed one", "dropped": "dropped a test image"}
        found = [f"{counts[name]:,} {meaning}" for name, meaning in meanings.items() if counts[name]]
        lines.append(f"Of {counted(counts['all'], 'correction')}, {enumeration(found) or 'none was in test'}.")
    if table["corrected"].any() or counts["dropped"]:
        lines.append(FLATTERED)
    own, now = table["own"].mean(), table["a"].mean()
    if (table["own"] != table["a"]).any():
        lines.append(
            f"By its own labels of these images, {a} has accuracy {own:.4f}, by the corrected ones {now:.4f}: of the "
            f"change that metrics show, {signed(now - own)} comes from the corrected test labels alone."
        )
    return lines


if __name__ == "__main__":
    cli.run(main)
