"""Coverage of the 95% intervals of evaluation/score_intervals.py, next to those of the plain percentile bootstrap.

    python -m tests.benchmarks.intervals [--simulations 1000]

Made-up predictions whose true metrics are known: of each image, the class's own logit is higher than the others by a
distance that gives an accuracy from 0.7 to 0.99; all have normal noise. With near-duplicates, 30% of the groups have 2
to 6 images, which have the same class and 90% of the variance of the noise in common. The plain bootstrap resamples
images, not groups.
"""

import argparse

import numpy as np
import pandas as pd
from scipy import integrate, optimize, special, stats
from tqdm import tqdm

from stages.evaluation import score_intervals, scores

ACCURACIES = np.linspace(0.7, 0.99, 30)
METRICS = ["accuracy", "auc", "precision", "recall", "f1", "loss"]
RESAMPLES = 500  # of the plain bootstrap


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    for classes in (2, 5):
        distances = {accuracy: distance(accuracy, classes) for accuracy in ACCURACIES}
        truths = {accuracy: truth(accuracy, apart, classes) for accuracy, apart in distances.items()}
        for copies in (False, True):
            for count in (40, 65, 200, 1000):
                name = f"{classes} classes, {count} images" + (", near-duplicates" if copies else "")
                print(f"\n{name}: coverage of {simulations} intervals, and their mean width")
                rows = []
                for simulation in tqdm(range(simulations), leave=False, disable=None):
                    rng = np.random.default_rng([classes, copies, count, simulation])
                    accuracy = rng.choice(ACCURACIES)
                    rows += run(rng, count, classes, distances[accuracy], copies, truths[accuracy])
                table = pd.DataFrame(rows).groupby(["kind", "metric"], sort=False).mean().unstack("kind")
                print(table.to_string(float_format="{:.3f}".format), flush=True)


def run(rng, count, classes, apart, copies, expected):
    """Simulates one test split; returns a row per metric and kind of interval: whether it covers, and its width."""
    labels, probabilities, groups = simulate(rng, count, classes, apart, copies)
    names = [str(k) for k in range(classes)]
    predicted = scores.predict(probabilities, 0.5)
    overall, by_class = scores.score(labels, predicted, probabilities, names)
    found = {
        "ours": score_intervals.confidence_intervals(labels, predicted, probabilities, groups, overall, by_class),
        "plain": percentiles(rng, labels, probabilities),
    }
    return [
        {"kind": kind, "metric": metric, "covers": low <= expected[metric] <= high, "width": high - low}
        for kind, of_metric in found.items()
        for metric in METRICS
        for low, high in [of_metric[metric]]
    ]


def simulate(rng, count, classes, apart, copies):
    """Returns labels, int [count], probabilities, float [count, classes], groups, int [count]; every class occurs."""
    sizes = np.where(rng.random(count) < 0.3, rng.integers(2, 7, count), 1) if copies else np.ones(count, int)
    groups = np.repeat(np.arange(count), sizes)[:count]
    labels = np.zeros(count, int)
    while len(np.unique(labels)) < classes:
        labels = rng.integers(0, classes, count)[groups]
    common = 0.9 if copies else 0  # part of the variance
    of_group, of_image = (rng.normal(size=(count, classes)) * np.sqrt(part) for part in (common, 1 - common))
    logits = of_group[groups] + of_image
    logits[np.arange(count), labels] += apart
    return labels, special.softmax(apart * logits, axis=1), groups  # by Bayes' rule: perfectly calibrated


def distance(accuracy, classes):
    """Returns how far the own logit must be above the others for an accuracy."""

    def reached(apart):
        return integrate.quad(lambda x: stats.norm.pdf(x - apart) * stats.norm.cdf(x) ** (classes - 1), -10, 20)[0]

    return optimize.brentq(lambda apart: reached(apart) - accuracy, 0, 10)


def truth(accuracy, apart, classes):
    """Returns the true scores: those of 200,000 images, but for the accuracy, which is known."""
    labels, probabilities, _ = simulate(np.random.default_rng(0), 200_000, classes, apart, copies=False)
    names = [str(k) for k in range(classes)]
    return scores.score(labels, scores.predict(probabilities, 0.5), probabilities, names)[0] | {"accuracy": accuracy}


def percentiles(rng, labels, probabilities):
    """Returns the intervals of the plain bootstrap: the middle 95% of the scores of images sampled with replacement."""
    count, classes = probabilities.shape
    sampled = rng.integers(0, count, (RESAMPLES, count)) + np.arange(RESAMPLES)[:, np.newaxis] * count
    counts = np.bincount(sampled.ravel(), minlength=RESAMPLES * count)  # how often each image is in each resample
    times = counts.reshape(RESAMPLES, count).astype(float)
    predicted = scores.predict(probabilities, 0.5)
    by_class = {metric: [] for metric in ("auc", "precision", "recall", "f1")}
    for k in range(1, 2) if classes == 2 else range(classes):
        both, actual, guesses = (
            times @ mask for mask in ((labels == k) & (predicted == k), labels == k, predicted == k)
        )
        by_class["precision"].append(both / np.maximum(guesses, 1))
        by_class["recall"].append(both / np.maximum(actual, 1))
        by_class["f1"].append(2 * both / np.maximum(actual + guesses, 1))
        inside, outside = np.flatnonzero(labels == k), np.flatnonzero(labels != k)
        outside = outside[np.argsort(probabilities[outside, k])]
        below = np.pad(np.cumsum(times[:, outside], axis=1), ((0, 0), (1, 0)))  # below[:, i]: how many of the lowest i
        places = np.searchsorted(probabilities[outside, k], probabilities[inside, k])
        pairs = np.maximum(actual * (count - actual), 1)
        by_class["auc"].append((below[:, places] * times[:, inside]).sum(axis=1) / pairs)
    replicates = {metric: np.mean(values, axis=0) for metric, values in by_class.items()}
    replicates["accuracy"] = times @ (predicted == labels) / count
    replicates["loss"] = times @ scores.cross_entropy(labels, probabilities) / count
    return {metric: np.quantile(replicates[metric], [0.025, 0.975]) for metric in METRICS}


if __name__ == "__main__":
    main()
