"""Compares two settings picture by picture, on the same test splits: is the difference more than chance?

    python -m stages.compare A B

A and B are experiments, git revisions, or names given to `python -m stages.repeats`, which are paired seed by seed.
"""

import argparse
import re

import numpy as np
import pandas as pd

from stages.common import command, experiments
from stages.common.command import UserError

CHANCE = 0.05  # the usual level


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    arguments = parser.parse_args()
    pairs = pair(arguments.a, arguments.b, experiments.names())
    table = pd.concat(align(experiments.predictions(a), experiments.predictions(b), a, b) for a, b in pairs)
    print(verdict(table, arguments.a, arguments.b))


def pair(a, b, names):
    """Returns the pairs of revisions to compare: seed by seed where both are repeats, or (a, b) itself."""
    seeds = [{name.removeprefix(f"{x}-seed-") for name in names if re.fullmatch(re.escape(x) + r"-seed-\d+", name)}
             for x in (a, b)]
    if bool(seeds[0]) != bool(seeds[1]):
        raise UserError(f"of {a} and {b}, one is a name of repeats and the other is not: compare like with like.")
    common = sorted(seeds[0] & seeds[1], key=int)
    if seeds[0] and not common:
        raise UserError(f"{a} and {b} have no seed in common: run both with `python -m stages.repeats`.")
    return [(f"{a}-seed-{seed}", f"{b}-seed-{seed}") for seed in common] or [(a, b)]


def align(first, second, a, b):
    """Returns a row per picture with path, group, and whether `a` and `b` are right.

    Args:
        first, second: predictions of revision `a` and of revision `b`.

    Raises:
        UserError: they are not of the same pictures.
    """
    both = first.merge(second, on=["path", "actual"], suffixes=("_a", "_b"))
    if not len(both) == len(first) == len(second):
        raise UserError(f"{a} and {b} were tested on different pictures: give them the same seed and data.")
    return pd.DataFrame({"path": both["path"], "group": both["group_a"], "a": both["predicted_a"] == both["actual"],
                         "b": both["predicted_b"] == both["actual"]})


def sign_flip(differences):
    """Returns the probability that chance makes the sum of `differences` at least as far from 0, exactly.

    If the two settings were equally good, the difference in each group of pictures could as well have the other sign.
    This is the exact permutation test for pairs (R. A. Fisher, The Design of Experiments, 1935); where all differences
    are -1, 0 or 1, it is the exact McNemar test.

    Args:
        differences: int [G], how many more of a group's pictures the second gets right than the first.
    """
    sizes = np.abs(differences[differences != 0])
    chances, total = np.ones(1), int(sizes.sum())  # chances[i]: that the sum is 2 * i - (sum of sizes so far)
    for size in sizes:
        chances = (np.pad(chances, (0, size)) + np.pad(chances, (size, 0))) / 2
    sums = 2 * np.arange(len(chances)) - total
    return float(min(1, chances[np.abs(sums) >= abs(differences.sum())].sum()))


def verdict(table, a, b):
    """Says in words how `a` and `b` differ.

    Args:
        table: rows as `align` returns them; a picture may occur once for each seed. Near-copies of one picture, and one
            picture under several seeds, are no independent evidence, and flip together.
    """
    difference = table["b"].astype(int) - table["a"].astype(int)
    p = sign_flip(difference.groupby(table["group"]).sum().to_numpy())
    better = b if difference.sum() > 0 else a
    conclusion = f"more than chance: {better} is better" if p < CHANCE else "no more than chance"
    return (
        f"{len(table)} predictions on {table['path'].nunique()} pictures. {b} is right where {a} is wrong on "
        f"{(difference > 0).sum()}, {a} where {b} is wrong on {(difference < 0).sum()}.\n"
        f"Accuracy {table['a'].mean():.4f} ({a}) against {table['b'].mean():.4f} ({b}): {conclusion} (p = {p:.2g})."
    )


if __name__ == "__main__":
    command.run(main)
