"""95% intervals of the numbers in `scoring`: where they could lie for all images of the kind that the test split shows.

The Bayesian bootstrap (D. B. Rubin, Annals of Statistics 9, 1981) weighs the images at random, again and again, and takes
the middle 95% of what then comes out. A group of near-duplicates has one weight, as it is one piece of evidence.

That alone would be certain of 1 after 40 right answers of 40. So half a right and half a wrong one, of random weight and as
many images as are in an image's group on average, are added to each ratio of counts. Without near-duplicates it then gives
Jeffreys' interval of a proportion (L. D. Brown et al., Statistical Science 16, 2001), from 0.94 to 1 in this case.
`python -m tests.benchmarks.intervals` measures how often the intervals hold the truth.
"""

from functools import partial

import numpy as np
from scipy import sparse

from stages.evaluation import metrics

DRAWS, CHUNK = 2000, 100  # of random weights, and how many of them at a time
SEED = 0  # the same images have the same intervals


def confidence_intervals(labels, probabilities, threshold, groups, scores, class_scores):
    """Returns the intervals of a model's scores. Each holds the score itself.

    Args:
        labels: int [N]; every class occurs.
        probabilities: float [N, C].
        threshold: as in metrics.predicted_labels.
        groups: int [N], the same for near-duplicates.
        scores, class_scores: what metrics.score and metrics.score_classes return for these.

    Returns:
        dict: from each name in `scores` to [low, high]; and "macro" and "classes" as in `class_scores`, without images.
    """
    rng = np.random.default_rng(SEED)
    group = np.unique(groups, return_inverse=True)[1]
    sums = _weigh(rng, _count(labels, probabilities, threshold, group))
    ratio = partial(_ratio, rng, size=np.bincount(group)[group].mean())
    auc = np.array([points["auc"] for points in class_scores["classes"].values()])
    classes = _by_class(ratio, sums, auc, half=0.5)
    # In a mean over classes they share the half: with one each, many small classes would pull it away from its value.
    of_class = _by_class(ratio, sums, auc, half=0.5 / len(auc))
    of_class["precision"][:, sums["predicted"][0] == 0] = 0  # of a class that is never predicted, as in scoring
    macro = {metric: draws.mean(axis=1) for metric, draws in of_class.items()}
    draws = {
        "accuracy": ratio(sums["right"], sums["support"], half=0.5),
        "loss": sums["loss"] / sums["support"],
        "top5_accuracy": ratio(sums["top5_accuracy"], sums["support"], half=0.5),
        **({metric: values[:, 1] for metric, values in classes.items()} if len(auc) == 2 else macro),
    }
    return {
        **{metric: _middle(draws[metric], score) for metric, score in scores.items()},
        "macro": {metric: _middle(macro[metric], score) for metric, score in class_scores["macro"].items()},
        "classes": {
            name: {metric: _middle(values[:, k], points[metric]) for metric, values in classes.items()}
            for k, (name, points) in enumerate(class_scores["classes"].items())
        },
    }


def _middle(draws, score):
    low, high = np.quantile(draws, [0.025, 0.975])
    return [float(min(low, score)), float(max(high, score))]


def _count(labels, probabilities, threshold, group):
    """Sums up, in each group of images, all that the scores are made of: a dict to float [G, 1] or [G, C] each."""
    predicted = metrics.predicted_labels(probabilities, threshold)
    right = predicted == labels
    rank = (probabilities > probabilities[np.arange(len(labels)), labels, np.newaxis]).sum(axis=1)
    above, below = _placements(labels, probabilities)
    members = sparse.csr_array((np.ones(len(labels)), (group, np.arange(len(labels)))))

    def by_class(values, classes):
        return sparse.csr_array((values, (group, classes)), (members.shape[0], probabilities.shape[1]), dtype=float)

    return {
        "support": members @ np.ones((len(labels), 1)),
        "right": members @ right[:, np.newaxis],
        "top5_accuracy": members @ (rank < metrics.TOP)[:, np.newaxis],
        "loss": members @ metrics.cross_entropy(labels, probabilities)[:, np.newaxis],
        "actual": by_class(np.ones(len(labels)), labels),
        "predicted": by_class(np.ones(len(labels)), predicted),
        "both": by_class(right, labels),
        "above": by_class(above, labels),
        "below": (members @ below).astype(np.float32),  # the only large one, N * C
    }


def _weigh(rng, counts):
    """Returns the sums of `counts` over the groups under random weights: a dict to float [DRAWS, 1] or [DRAWS, C] each."""
    sums = {name: [] for name in counts}
    for _ in range(DRAWS // CHUNK):
        weights = rng.standard_exponential((CHUNK, counts["support"].shape[0]), np.float32)
        for name, count in counts.items():
            sums[name].append(weights @ count)
    return {name: np.concatenate(chunks).astype(float) for name, chunks in sums.items()}


def _ratio(rng, hits, tries, size, half, miss=0):
    """Draws hits / tries with `half` a try that hits and `half` a one that counts `miss`, each of `size` images."""
    hit, missed = size * rng.gamma(half, size=(2, *tries.shape))
    return (hits + hit + miss * missed) / np.maximum(tries + hit + missed, 1e-300)  # a small `half` can come to 0


def _by_class(ratio, sums, auc, half):
    """Draws precision, recall, f1 and auc of each class, float [DRAWS, C] each; `auc` has its scores, float [C]."""
    either = sums["actual"] + sums["predicted"] - sums["both"]
    share = ratio(sums["both"], either, half=half)
    # The mean placement of the class's images among the others, and of the others among them: each is the AUC, and varies
    # with its own side (E. R. DeLong et al., Biometrics 44, 1988). What is added and does not hit is ranked as by a coin.
    above = ratio(sums["above"], sums["actual"], half=half, miss=0.5)
    below = ratio(sums["below"], sums["support"] - sums["actual"], half=half, miss=0.5)
    return {
        "precision": ratio(sums["both"], sums["predicted"], half=half),
        "recall": ratio(sums["both"], sums["actual"], half=half),
        "f1": 2 * share / (1 + share),
        "auc": np.clip(above + below - auc, 0, 1),
    }


def _placements(labels, probabilities):
    """Places the images by their probability of a class among those on the other side, ties counting half.

    Returns:
        (float [N], float [N, C]): which share of the others an image's own class puts it above; and, for each class, which
        share of the class's images it is below, 0 for those of the class itself.
    """
    above, below = np.empty(len(labels)), np.zeros(probabilities.shape)
    for k, scores in enumerate(probabilities.T):
        of_class = labels == k
        inside, outside = np.sort(scores[of_class]), np.sort(scores[~of_class])
        above[of_class] = _rank(outside, scores[of_class])
        below[~of_class, k] = 1 - _rank(inside, scores[~of_class])
    return above, below


def _rank(ordered, values):
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2 / len(ordered)
