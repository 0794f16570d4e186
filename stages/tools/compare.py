"""Compares two settings image by image, on the same test splits, with a paired test.

    python -m stages.tools.compare A B

    A  an experiment, a git revision, or a name given to `python -m stages.tools.repeat_seeds`
    B  another one; the experiments of two names of repeats are paired seed by seed

Reads plots/predictions.csv of both; writes nothing.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from stages.common import cli, terminal
from stages.common.cli import UserError
from stages.statistics import paired_test
from stages.tools import experiments


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    arguments = parser.parse_args()
    pairs = pair(arguments.a, arguments.b, experiments.names())
    table = pd.concat(align(experiments.predictions(a), experiments.predictions(b), a, b) for a, b in pairs)
    terminal.show(paired_test.describe_difference(table, arguments.a, arguments.b))


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


def align(first: pd.DataFrame, second: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Returns a row per image with path, group, and whether the predictions of revisions `a` and `b` are right."""
    both = first.merge(second, on=["path", "actual"], suffixes=("_a", "_b"))
    if not len(both) == len(first) == len(second):
        raise UserError(f"{a} and {b} were tested on different images: give them the same seed and data.")
    right = {name: both[f"predicted_{name}"] == both["actual"] for name in ("a", "b")}
    return pd.DataFrame({"path": both["path"], "group": both["group_a"], **right})


if __name__ == "__main__":
    cli.run(main)
