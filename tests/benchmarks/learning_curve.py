"""Predicts from a part of the images what twice as many bring, and compares with what they do bring.

    dvc repro split && python -m tests.benchmarks.learning_curve [--seeds 5] [--sizes 80 160 320]

It works on the images that data/splits holds, and changes no file. For each size and seed it measures the learning
curve on that many images, and the accuracy in cross-validation on twice as many. It prints how far predicted accuracy
and gain are off on average, how far the accuracy without any gain is, and how often the 95% intervals hold what was
measured. The gain is measured on the same images as the learning curve.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from stages.label_audit import cross_validation, learning_curve
from tests.benchmarks import support


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="numbers of images; all that fit of 80, 160, 320 if not given"
    )
    arguments = parser.parse_args()
    _, images, features = support.read_images()
    features = normalize(features)
    labels, groups = images["label"].to_numpy(), images["group"].to_numpy()
    sizes = arguments.sizes or [size for size in (80, 160, 320) if 2 * size <= len(images) + 1]
    runs = [run(features, labels, groups, size, seed) for size in sizes for seed in range(1, arguments.seeds + 1)]
    table = pd.DataFrame([row for row in runs if row])
    print(table.groupby("size").mean().to_string(float_format="{:.3f}".format))
    print(f"\n{len(table)} of {len(runs)} learning curves were extrapolated; on average:")
    print(table.drop(columns="size").mean().to_string(float_format="{:.3f}".format))


def run(features, labels, groups, size, seed):
    """Returns a row of the table, or None if the learning curve of `size` images extrapolates nothing."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = pd.Series(order).groupby(labels).rank(pct=True).to_numpy()  # of each class the same fraction
    half, twice = (np.flatnonzero(rank <= fraction / len(labels)) for fraction in (size, 2 * size))
    curve = measure(features[half], labels[half], groups[half], seed)
    if curve["doubled"] is None:
        return None
    correct = cross_validate(features[twice], labels[twice], groups[twice], seed)[2].argmax(axis=1) == labels[twice]
    accuracy, doubled = correct.mean(), curve["doubled"]
    gain = correct[np.isin(twice, half)].mean() - curve["accuracy"][-1]
    return {
        "size": size,
        "accuracy": curve["accuracy"][-1],
        "predicted": doubled["accuracy"],
        "measured": accuracy,
        "error": abs(doubled["accuracy"] - accuracy),
        "error_without_gain": abs(curve["accuracy"][-1] - accuracy),
        "error_of_gain": abs(doubled["gain"] - gain),
        "held": doubled["interval"][0] <= accuracy <= doubled["interval"][1],
        "gain_held": doubled["gain_interval"][0] <= gain <= doubled["gain_interval"][1],
    }


def cross_validate(features, labels, groups, seed):
    """Returns the folds, the head and its out-of-sample probabilities."""
    folds = cross_validation.divide(labels, groups, seed)
    return folds, *cross_validation.select_head(features, labels, folds)


def measure(features, labels, groups, seed):
    """Returns the learning curve as the audit measures it."""
    folds, head, probabilities = cross_validate(features, labels, groups, seed)
    return learning_curve.measure(head, probabilities, features, labels, groups, folds, seed)


if __name__ == "__main__":
    main()
