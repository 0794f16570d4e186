"""Paired test of two sets of predictions for the same images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from stages.common.cli import counted

SIGNIFICANCE = 0.05  # significance level, the usual one


def permutation_test(differences: np.ndarray) -> float:
    """Returns the exact two-sided p-value of the sum of `differences`.

    A difference is how many more of a group's images the second set gets right than the first, int [G]. Under the null
    hypothesis, each has either sign with probability 0.5. This is the exact permutation test for pairs (R. A. Fisher,
    The Design of Experiments, 1935); where all differences are -1, 0 or 1, it is the exact McNemar test. The
    distribution is convolved group by group: scipy.stats.permutation_test would enumerate all 2 ** G signs, or sample.
    """
    sizes = np.abs(differences[differences != 0])
    total = int(sizes.sum())
    probabilities = np.ones(1)  # element i belongs to the sum 2 * i - (total so far)
    for size in sizes:
        probabilities = (np.pad(probabilities, (0, size)) + np.pad(probabilities, (size, 0))) / 2
    sums = 2 * np.arange(len(probabilities)) - total
    return float(min(1, probabilities[np.abs(sums) >= abs(differences.sum())].sum()))


def count_flips(table: pd.DataFrame) -> dict[str, int | float]:
    """Counts the predictions that only `b` gets right (gained) and only `a` (lost), with the p-value of the difference.

    The table has a row per prediction: path, group, and whether `a` and `b` are correct, bool. An image may occur once
    for each seed. A group of near-duplicates, under all seeds, is one piece of evidence: its signs flip together.
    """
    difference = table["b"].astype(int) - table["a"].astype(int)
    return {
        "gained": int((difference > 0).sum()),
        "lost": int((difference < 0).sum()),
        "p_value": permutation_test(difference.groupby(table["group"]).sum().to_numpy()),
    }


def describe_difference(table: pd.DataFrame, a: str, b: str) -> str:
    """Says in words how the predictions called `a` and `b` differ; the table is as in `count_flips`."""
    flips, right = count_flips(table), int(table["a"].sum())
    total = _total(table)
    if not flips["gained"] and not flips["lost"]:
        wrong = len(table) - right
        if not wrong or not right:
            return describe_same(right, total)
        return (
            f"Both models are right on the same {right}, and wrong on the same {wrong} of {total}: accuracy "
            f"{table['a'].mean():.4f}."
        )
    return (
        f"Of {total}, {b} alone is right on {flips['gained']}, and {a} alone on {flips['lost']}.\n"
        f"Accuracy {table['a'].mean():.4f} ({a}) against {table['b'].mean():.4f} ({b}): {conclude(flips, a, b)}."
    )


def conclude(flips: Mapping[str, int | float], a: str, b: str) -> str:
    """Says whether the numbers of `count_flips` show that `a` or `b` is better, as the end of a sentence."""
    better = b if flips["gained"] > flips["lost"] else a
    finding = f"more than noise, {better} is better" if flips["p_value"] < SIGNIFICANCE else "within noise"
    return f"the difference is {finding} (p = {flips['p_value']:.2g})"


def describe_same(right: int, images: str) -> str:
    """Says that two models are right on the same of such images as "70 test images", or on none of them."""
    return f"Both models are {'right' if right else 'wrong'} on the same {images}."


def _total(table: pd.DataFrame) -> str:
    images = table["path"].nunique()
    if len(table) == images:
        return counted(images, "image")
    return f"{counted(len(table), 'prediction')} for {counted(images, 'image')}"
