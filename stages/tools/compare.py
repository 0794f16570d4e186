"""Compares two settings image by image, on the same test splits: is the difference more than chance?

    python -m stages.tools.compare A B

A and B are experiments, git revisions, or names given to `python -m stages.tools.repeat_seeds`, which are paired seed by seed.
"""

import argparse
import re

import pandas as pd

from stages.common import cli
from stages.common.cli import UserError
from stages.evaluation import paired_test
from stages.tools import experiments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    arguments = parser.parse_args()
    pairs = pair(arguments.a, arguments.b, experiments.names())
    table = pd.concat(align(experiments.predictions(a), experiments.predictions(b), a, b) for a, b in pairs)
    print(paired_test.describe(table, arguments.a, arguments.b))


def pair(a, b, names):
    """Returns the pairs of revisions to compare: seed by seed where both are repeats, or (a, b) itself."""
    seeds = [
        {name.removeprefix(f"{x}-seed-") for name in names if re.fullmatch(re.escape(x) + r"-seed-\d+", name)}
        for x in (a, b)
    ]
    if bool(seeds[0]) != bool(seeds[1]):
        raise UserError(f"of {a} and {b}, one is a name of repeats and the other is not: compare like with like.")
    common = sorted(seeds[0] & seeds[1], key=int)
    if seeds[0] and not common:
        raise UserError(f"{a} and {b} have no seed in common: run both with `python -m stages.tools.repeat_seeds`.")
    return [(f"{a}-seed-{seed}", f"{b}-seed-{seed}") for seed in common] or [(a, b)]


def align(first, second, a, b):
    """Returns a row per image with path, group, and whether `a` and `b` are right.

    Args:
        first, second: predictions of revision `a` and of revision `b`.

    Raises:
        UserError: they are not of the same images.
    """
    both = first.merge(second, on=["path", "actual"], suffixes=("_a", "_b"))
    if not len(both) == len(first) == len(second):
        raise UserError(f"{a} and {b} were tested on different images: give them the same seed and data.")
    return pd.DataFrame(
        {
            "path": both["path"],
            "group": both["group_a"],
            "a": both["predicted_a"] == both["actual"],
            "b": both["predicted_b"] == both["actual"],
        }
    )


if __name__ == "__main__":
    cli.run(main)
