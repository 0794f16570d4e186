"""Paired test of two sets of predictions for the same images."""

import numpy as np
import pandas as pd

SIGNIFICANCE = 0.05  # the usual level


def permutation_test(differences: np.ndarray) -> float:
    """Returns the exact two-sided p-value of the sum of `differences`.

    Under the null hypothesis, the difference in each group of images has either sign with probability 0.5. This is the
    exact permutation test for pairs (R. A. Fisher, The Design of Experiments, 1935); where all differences are -1, 0 or
    1, it is the exact McNemar test. The distribution of the sum is convolved group by group:
    scipy.stats.permutation_test would enumerate all 2 ** G signs, or sample them.

    Args:
        differences: int [G], how many more of a group's images the second gets right than the first.
    """
    sizes = np.abs(differences[differences != 0])
    total = int(sizes.sum())
    probabilities = np.ones(1)  # of the sum of i - (total so far - i), at place i
    for size in sizes:
        probabilities = (np.pad(probabilities, (0, size)) + np.pad(probabilities, (size, 0))) / 2
    sums = 2 * np.arange(len(probabilities)) - total
    return float(min(1, probabilities[np.abs(sums) >= abs(differences.sum())].sum()))


def count_flips(table: pd.DataFrame) -> dict[str, int | float]:
    """Counts the images that only one of two sets of predictions gets right.

    Args:
        table: a row per prediction: path, group, and whether `a` and `b` are correct, bool. An image may occur once for
            each seed. Near-duplicates of one image, and one image under several seeds, are no independent evidence: the
            test flips the signs of a group together.

    Returns:
        dict: gained, on how many `b` alone is correct; lost, on how many `a` alone is; and p_value, what
        `permutation_test` returns.
    """
    difference = table["b"].astype(int) - table["a"].astype(int)
    return {
        "gained": int((difference > 0).sum()),
        "lost": int((difference < 0).sum()),
        "p_value": permutation_test(difference.groupby(table["group"]).sum().to_numpy()),
    }


def describe(table: pd.DataFrame, a: str, b: str) -> str:
    """Says in words how the predictions called `a` and `b` differ; the table is as in `count_flips`."""
    counts = count_flips(table)
    better = b if counts["gained"] > counts["lost"] else a
    significant = counts["p_value"] < SIGNIFICANCE
    conclusion = f"significant, {better} is better" if significant else "not significant"
    return (
        f"{len(table)} predictions on {table['path'].nunique()} images. {b} is right where {a} is wrong on "
        f"{counts['gained']}, {a} where {b} is wrong on {counts['lost']}.\n"
        f"Accuracy {table['a'].mean():.4f} ({a}) against {table['b'].mean():.4f} ({b}): the difference is {conclusion} "
        f"(p = {counts['p_value']:.2g})."
    )
