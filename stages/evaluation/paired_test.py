"""Two sets of predictions of the same images: which changed sides, and is it more than chance?"""

import numpy as np

SIGNIFICANCE = 0.05  # the usual level


def permutation_test(differences):
    """Returns the probability that chance makes the sum of `differences` at least as far from 0, exactly.

    If the two settings were equally good, the difference in each group of images could as well have the other sign.
    This is the exact permutation test for pairs (R. A. Fisher, The Design of Experiments, 1935); where all differences
    are -1, 0 or 1, it is the exact McNemar test.

    Args:
        differences: int [G], how many more of a group's images the second gets right than the first.
    """
    sizes = np.abs(differences[differences != 0])
    chances, total = np.ones(1), int(sizes.sum())  # chances[i]: that the sum is 2 * i - (sum of sizes so far)
    for size in sizes:
        chances = (np.pad(chances, (0, size)) + np.pad(chances, (size, 0))) / 2
    sums = 2 * np.arange(len(chances)) - total
    return float(min(1, chances[np.abs(sums) >= abs(differences.sum())].sum()))


def count_flips(table):
    """Counts what changed sides.

    Args:
        table: DataFrame with a row per prediction: path, group, and whether `a` and `b` are right, bool. An image may
            occur once for each seed. Near-duplicates of one image, and one image under several seeds, are no independent
            evidence, and flip together.

    Returns:
        dict: gained, on how many `b` alone is right; lost, on how many `a` alone is; and p, what `permutation_test` says.
    """
    difference = table["b"].astype(int) - table["a"].astype(int)
    return {
        "gained": int((difference > 0).sum()),
        "lost": int((difference < 0).sum()),
        "p_value": permutation_test(difference.groupby(table["group"]).sum().to_numpy()),
    }


def describe(table, a, b):
    """Says in words how the predictions called `a` and `b` differ; the table is as in `changed`."""
    counts = count_flips(table)
    better = b if counts["gained"] > counts["lost"] else a
    conclusion = f"more than chance: {better} is better" if counts["p_value"] < SIGNIFICANCE else "no more than chance"
    return (
        f"{len(table)} predictions on {table['path'].nunique()} images. {b} is right where {a} is wrong on "
        f"{counts['gained']}, {a} where {b} is wrong on {counts['lost']}.\n"
        f"Accuracy {table['a'].mean():.4f} ({a}) against {table['b'].mean():.4f} ({b}): {conclusion} (p = {counts['p_value']:.2g})."
    )
