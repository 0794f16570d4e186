"""Coverage of the 95% intervals of stages/tools/repeat_seeds.py, next to those of the plain corrected t-interval.

    python -m tests.benchmarks.repeat_intervals [--simulations 1000]

Made-up images of two classes are divided at random, again and again, into 60% for training, 20% for validation and 20%
for test; a linear discriminant is trained and tested on each. So repeats depend on each other as they do in practice:
test splits share images, of which some are difficult and some, a third of the unavoidable errors, are mislabelled; and
training splits share images, too. A random change of the discriminant, by a tenth or three tenths of its length,
stands for initial weights and the order of images.

An interval is to hold the mean score over other random splits: of these images ("same"), and of others of the same kind
("others"), which is what C. Nadeau and Y. Bengio (2003) correct the variance for. The plain interval is
mean +- t * sd * sqrt(1 / n + test / train).
"""

import argparse

import numpy as np
import pandas as pd
from scipy import special, stats
from tqdm import tqdm

from stages.tools import repeat_seeds

IMAGES = [(50, 50), (100, 100), (175, 25), (160, 165), (500, 500)]  # of each class
ACCURACIES = [0.7, 0.9, 0.97, 0.995]  # of the best possible model on two classes of the same size
NOISE = [0.1, 0.3]
REPEATS = [3, 5, 10]
SPLITS = 50  # of the same images; the first are the repeats
FEATURES, SHRINKAGE = 10, 0.2  # of the covariance
BINS = 15  # of the calibration error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    tables = []
    for counts in IMAGES:
        for noise in NOISE:
            rows = []
            for accuracy in tqdm(ACCURACIES, leave=False, disable=None):
                rngs = [np.random.default_rng([*counts, int(1000 * accuracy), k]) for k in range(simulations)]
                scores = [run(rng, counts, accuracy, noise) for rng in rngs]
                rows += measure({metric: np.array([x[metric] for x in scores]) for metric in scores[0]}, counts)
            tables.append(pd.DataFrame(rows))
            test = [count // 5 for count in counts]
            print(f"\ntest splits of {test[0]} and {test[1]} images, noise {noise}: means over {ACCURACIES}")
            print_table(tables[-1], "mean")
    print("\nall of these: mean, and lowest of all with one accuracy")
    print_table(pd.concat(tables), ["mean", "min"])


def print_table(table, statistics):
    summed = table.groupby(["metric", "repeats", "kind"], sort=False)[["others", "same", "width"]].agg(statistics)
    print(summed.unstack("kind").to_string(float_format="{:.3f}".format), flush=True)


def measure(scores, counts):
    """Returns a row per metric, number of repeats and kind of interval: coverage and mean width.

    Args:
        scores: {metric: float [simulations, SPLITS]}.
        counts: images of each class.
    """
    train, test = ([count * fifths // 5 for count in counts] for fifths in (3, 1))
    rows = []
    for metric, values in scores.items():
        others, same = values.mean(), values.mean(axis=1)
        for repeats in REPEATS:
            table = pd.DataFrame(values[:, :repeats].T, columns=[metric] * len(values))
            ours = repeat_seeds.summary(table, train, test)[["from", "to"]].to_numpy().T
            for kind, (low, high) in {"plain": plain(table, train, test), "ours": ours}.items():
                covers = {
                    name: np.mean((low <= truth + 1e-9) & (truth - 1e-9 <= high))
                    for name, truth in (("others", others), ("same", same))
                }
                row = {"metric": metric, "repeats": repeats, "kind": kind, "width": np.mean(high - low)}
                rows.append(row | covers)
    return rows


def plain(table, train, test):
    """Returns the ends of mean +- t * sd * sqrt(1 / n + test / train), float [2, columns]."""
    mean, deviation, n = table.mean().to_numpy(), table.std(ddof=1).to_numpy(), len(table)
    half = stats.t.ppf(0.975, n - 1) * deviation * np.sqrt(1 / n + sum(test) / sum(train))
    return mean - half, mean + half


def run(rng, counts, accuracy, noise):
    """Makes images and divides them SPLITS times; returns the test scores, {metric: float [SPLITS]}."""
    images = make_images(rng, counts, accuracy)
    orders = [rng.permuted(np.tile(np.arange(count), (SPLITS, 1)), axis=1) for count in counts]
    test = [order[:, : count // 5] for order, count in zip(orders, counts, strict=True)]
    train = [order[:, 2 * (count // 5) :] for order, count in zip(orders, counts, strict=True)]
    weights, bias = discriminants([x[rows] for x, rows in zip(images, train, strict=True)])
    length = np.linalg.norm(weights, axis=1, keepdims=True)
    weights = weights + noise * length * rng.normal(size=weights.shape)
    logits = [
        np.einsum("skf,sf->sk", x[rows], weights) + bias[:, np.newaxis] for x, rows in zip(images, test, strict=True)
    ]
    return score(*logits)


def make_images(rng, counts, accuracy):
    """Returns the features of both classes, float [count, FEATURES] each; some images are of the other class."""
    error = 1 - accuracy
    distance = 2 * stats.norm.ppf(1 - error * 2 / 3)
    images = []
    for k, count in enumerate(counts):
        actual = np.where(rng.random(count) < error / 3, 1 - k, k)
        features = rng.normal(size=(count, FEATURES))
        features[:, 0] += distance * actual
        images.append(features)
    return images


def discriminants(train):
    """Returns weights, float [SPLITS, FEATURES], and bias, float [SPLITS], of two arrays [SPLITS, n, FEATURES]."""
    means = [x.mean(axis=1) for x in train]
    centred = np.concatenate([x - mean[:, np.newaxis] for x, mean in zip(train, means, strict=True)], axis=1)
    covariance = centred.transpose(0, 2, 1) @ centred / centred.shape[1]
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(FEATURES)
    weights = np.linalg.solve(covariance, (means[1] - means[0])[..., np.newaxis])[..., 0]
    bias = np.log(train[1].shape[1] / train[0].shape[1]) - (weights * (means[0] + means[1])).sum(axis=1) / 2
    return weights, bias


def score(first, second):
    """Returns the scores of logits, float [SPLITS, n] for the images of each class; recall and so on of the second."""
    hits, false = (second > 0).sum(axis=1), (first > 0).sum(axis=1)
    signed = np.concatenate([-first, second], axis=1)  # above 0: correct
    confidence, correct = special.expit(np.abs(signed)), signed > 0
    bins = np.ceil(confidence * BINS)
    gaps = [((correct - confidence) * (bins == k)).sum(axis=1) for k in range(BINS + 1)]
    return {
        "accuracy": correct.mean(axis=1),
        "auc": (second[:, :, np.newaxis] > first[:, np.newaxis]).mean(axis=(1, 2)),
        "precision": hits / np.maximum(hits + false, 1),
        "recall": hits / second.shape[1],
        "f1": 2 * hits / (second.shape[1] + hits + false),
        "ece": np.abs(gaps).sum(axis=0) / signed.shape[1],
        "loss": np.logaddexp(0, -signed).mean(axis=1),
    }


if __name__ == "__main__":
    main()
