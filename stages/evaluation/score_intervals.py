"""95% intervals of metrics by the Bayesian bootstrap. `python -m tests.benchmarks.intervals` has their coverage."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from stages.common.arrays import Groups, Labels, Probabilities
from stages.evaluation import scores
from stages.statistics import bootstrap, intervals

REPLICATES = 2000  # number of bootstrap replicates
SEED = 0  # seed of the weights: the same predictions have the same intervals


def confidence_intervals(
    labels: Labels,
    predicted: Labels,
    probabilities: Probabilities,
    groups: Groups,
    overall: Mapping[str, float],
    by_class: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Returns the 95% intervals of a model's metrics, [low, high]. Each holds the metric itself.

    `overall` and `by_class` are what scores.score returns for these predictions; the intervals have the same keys, but
    for support.
    """
    rng = np.random.default_rng(SEED)
    group = np.unique(groups, return_inverse=True)[1]
    sums = bootstrap.weighted_sums(rng, REPLICATES, _group_sums(labels, predicted, probabilities, group))
    ratio = partial(bootstrap.smoothed_ratio, rng, size=np.bincount(group)[group].mean())
    present = np.unique(labels)
    sums = {name: x if x.shape[1] == 1 else np.take(x, present, axis=1) for name, x in sums.items()}
    auc = np.array([values.get("auc", np.nan) for values in by_class["classes"].values()])
    classes = _class_replicates(ratio, sums, auc, half=0.5)
    # In a macro average the classes share the half: with one each, many small classes would bias it.
    for_macro = _class_replicates(ratio, sums, auc, half=0.5 / len(auc))
    for_macro["precision"][:, sums["predicted"][0] == 0] = 0  # as in scores, if a class is never predicted
    macro = {metric: replicates.mean(axis=1) for metric, replicates in for_macro.items()}
    replicates = {
        "accuracy": ratio(sums["correct"], sums["support"], half=0.5),
        "loss": sums["loss"] / sums["support"],
        "top5_accuracy": ratio(sums["top5_accuracy"], sums["support"], half=0.5),
        **({metric: values[:, -1] for metric, values in classes.items()} if probabilities.shape[1] == 2 else macro),
    }
    return {
        **_intervals(replicates, overall),
        "macro": _intervals(macro, by_class["macro"]),
        "classes": {
            name: _intervals({metric: values[:, k] for metric, values in classes.items()}, of_class)
            for k, (name, of_class) in enumerate(by_class["classes"].items())
        },
    }


def _intervals(replicates: Mapping[str, np.ndarray], values: Mapping[str, float]) -> dict[str, list[float]]:
    """Returns the intervals of the metrics that have replicates."""
    return {name: intervals.of_replicates(replicates[name], values[name]) for name in values if name in replicates}


def _group_sums(
    labels: Labels, predicted: Labels, probabilities: Probabilities, group: Groups
) -> dict[str, np.ndarray | sparse.csr_array]:
    """Returns the sums over each group of images that the metrics are made of, float [G, 1] or [G, C] each."""
    correct = predicted == labels
    rank = (probabilities > probabilities[np.arange(len(labels)), labels, np.newaxis]).sum(axis=1)
    above, below = _placements(labels, probabilities)
    members = sparse.csr_array((np.ones(len(labels)), (group, np.arange(len(labels)))))

    def by_class(values: np.ndarray, classes: Labels) -> sparse.csr_array:
        return sparse.csr_array((values, (group, classes)), (members.shape[0], probabilities.shape[1]), dtype=float)

    return {
        "support": members @ np.ones((len(labels), 1)),
        "correct": members @ correct[:, np.newaxis],
        "top5_accuracy": members @ (rank < scores.TOP)[:, np.newaxis],
        "loss": members @ scores.cross_entropy(labels, probabilities)[:, np.newaxis],
        "actual": by_class(np.ones(len(labels)), labels),
        "predicted": by_class(np.ones(len(labels)), predicted),
        "both": by_class(correct, labels),
        "above": by_class(above, labels),
        "below": (members @ below).astype(np.float32),  # the only large one, N * C
    }


def _class_replicates(
    ratio: Callable[..., np.ndarray], sums: Mapping[str, np.ndarray], auc: np.ndarray, half: float
) -> dict[str, np.ndarray]:
    """Returns replicates of precision, recall, f1 and auc of each class, float [REPLICATES, C] each.

    `ratio` is bootstrap.smoothed_ratio with its first argument and `size`; `auc` is the metric itself, float [C].
    """
    jaccard = ratio(sums["both"], sums["actual"] + sums["predicted"] - sums["both"], half=half)
    # The mean placement of the class's images among the others, and of the others among them: each is the AUC, and
    # varies with its own side (E. R. DeLong et al., Biometrics 44, 1988). An added miss has the rank of a random guess.
    above = ratio(sums["above"], sums["actual"], half=half, miss=0.5)
    below = ratio(sums["below"], sums["support"] - sums["actual"], half=half, miss=0.5)
    return {
        "precision": ratio(sums["both"], sums["predicted"], half=half),
        "recall": ratio(sums["both"], sums["actual"], half=half),
        "f1": 2 * jaccard / (1 + jaccard),
        "auc": np.clip(above + below - auc, 0, 1),
    }


def _placements(labels: Labels, probabilities: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Returns the placement values of the images (DeLong et al. 1988).

    They are the fraction of the images of other classes that score lower for an image's own class, float [N]; and, for
    each class, the fraction of its images that score higher, 0 for images of the class itself, float [N, C].
    """
    above, below = np.empty(len(labels)), np.zeros(probabilities.shape)
    for k, score in enumerate(probabilities.T):
        of_class = labels == k
        above[of_class] = _fraction_below(score[~of_class], score[of_class])
        below[~of_class, k] = 1 - _fraction_below(score[of_class], score[~of_class])
    return above, below


def _fraction_below(others: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the fraction of `others` that are below each of `values`; ties count half. Of no others, it is 0."""
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return twice / 2 / max(len(ordered), 1)
