"""Flips labels at random and prints how many of them the audit ranks among its most doubtful 10%; then shuffles labels.

    dvc repro split && python -m tests.benchmarks.label_audit [--flipped 0.05] [--seeds 10] [--shuffles 20]

It works on the images that data/splits holds, and changes no file. Beside the audit's ranking it prints what its parts
find alone. `listed` is the fraction of all labels that the audit would change.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize

from stages.label_audit import cross_validation, label_errors
from tests.benchmarks import support


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flipped", type=float, default=0.05, help="fraction of the labels")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--shuffles", type=int, default=20)
    arguments = parser.parse_args()
    splits, images, features = support.read_images()
    classes = splits[0].classes
    table = pd.concat(
        [run(features, images, classes, arguments.flipped, seed) for seed in range(1, arguments.seeds + 1)]
    )
    print(table.groupby(level=0, sort=False).mean().to_string(float_format="{:.3f}".format))
    labels, groups = images["label"].to_numpy(), images["group"].to_numpy()
    rates = []
    for seed in range(1, arguments.shuffles + 1):
        shuffled = np.random.default_rng(seed).permutation(labels)
        rates.append(label_errors.error_rate(shuffled, groups, audit(features, shuffled, groups, seed)[0]))
    print(f"{sum(rate is not None for rate in rates)} of {len(rates)} sets of shuffled labels have an estimate.")


def audit(features, labels, groups, seed):
    """Returns the probabilities of the audit, of its head and of its neighbours, float [N, C] each."""
    features = normalize(features)
    folds = cross_validation.divide(labels, groups, seed)
    _, by_head = cross_validation.select_head(features, labels, folds)
    both = label_errors.average_with_neighbours(by_head, features, labels, folds)
    return both, by_head, 2 * both - by_head


def run(features, images, classes, fraction, seed):
    """Flips a fraction of the labels and ranks them in several ways.

    Returns:
        DataFrame, a row for each way: found, the fraction of the flipped labels that are among the most doubtful 10%;
            average_precision of finding them; listed; and error_rate, the audit's estimate.
    """
    labels, flipped = flip(images["label"].to_numpy(), len(classes), fraction, seed)
    groups = images["group"].to_numpy()
    both, by_head, by_neighbours = audit(features, labels, groups, seed)
    plain = LogisticRegression(C=0.01, max_iter=1000)
    plain = cross_validation.predict(plain, features, labels, cross_validation.divide(labels, groups, seed))
    ways = {"audit": both, "head": by_head, "neighbours": by_neighbours, "features as they come": plain}
    rate = label_errors.error_rate(labels, groups, both)
    return pd.DataFrame({name: score(x, labels, flipped) for name, x in ways.items()}).T.assign(error_rate=rate)


def score(probabilities, labels, flipped):
    """Returns found, average_precision and listed, as `run` says."""
    quality = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    first = np.argsort(quality, kind="stable")[: len(labels) // 10]
    return {
        "found": np.isin(flipped, first).mean(),
        "average_precision": average_precision_score(np.isin(np.arange(len(labels)), flipped), -quality),
        "listed": (quality < 0.5).mean(),
    }


def flip(labels, count, fraction, seed):
    """Gives a random fraction of the images another of `count` classes; returns labels and the rows that changed."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), round(fraction * len(labels)), replace=False)
    labels = labels.copy()
    labels[rows] = (labels[rows] + rng.integers(1, count, len(rows))) % count
    return labels, rows


if __name__ == "__main__":
    main()
