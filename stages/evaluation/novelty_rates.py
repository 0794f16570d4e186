"""How well novelty detection does: how many images of each kind it flags, and how often the model errs on the others.

Of own images, as few as possible should be flagged; of foreign images, and of images of classes that the model never
saw, as many as possible.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stages.common import features
from stages.common.arrays import Features, Groups, Pixels
from stages.common.dataset import Split
from stages.evaluation import foreign_images, novelty
from stages.evaluation.novelty import Detector
from stages.statistics import bootstrap, intervals

TURNS = 3  # number of parts of the classes, each of which is held out once
REPLICATES = 2000  # number of bootstrap replicates
SEED = 0  # seed of the weights: the same flags have the same intervals


def measure(
    detector: Detector,
    splits: Mapping[str, Split],
    test: Features,
    frozen: Features,
    is_right: np.ndarray,
    extract: Callable[[Pixels], Features],
) -> dict[str, Any]:
    """Returns the rates of novelty detection, each what `rate` returns.

    Args:
        test: features of the test images, those that the detector was fitted to; `extract` computes them of others.
        frozen: features of the test images by the frozen model.
        is_right: whether a test image is predicted correctly, bool [N].

    Returns:
        finding: says it in a line; if there are too few validation images for a threshold, all rates are None.
        answered: of the test images, those that are not flagged.
        wrong: of these, those that are misclassified; None if there are none.
        foreign: of all foreign images, those that are flagged; `kinds` has them by kind.
        unseen: of images of classes that a model never saw, those that are flagged; see `measure_unseen`.
    """
    if np.isinf(detector.threshold):
        finding = (
            "The model cannot tell which images are unlike its training images: this takes at least "
            f"{novelty.FEWEST} validation images, and there are {len(splits['validation'].labels)}."
        )
        return {"finding": finding, **dict.fromkeys(("answered", "wrong", "foreign", "unseen")), "kinds": {}}
    groups, flagged = splits["test"].manifest["group"].to_numpy(), detector.novelty(test) > 1
    images = foreign_images.make(splits["test"].image_size)
    foreign = detector.novelty(extract(np.concatenate(list(images.values())))) > 1
    kinds = dict(zip(images, np.split(foreign, len(images)), strict=True))
    rates = {
        "answered": rate(~flagged, groups),
        "wrong": rate(~is_right[~flagged], groups[~flagged]),
        "foreign": rate(foreign, np.arange(len(foreign))),
        "kinds": {kind: rate(x, np.arange(len(x))) for kind, x in kinds.items()},
        "unseen": measure_unseen(splits, frozen),
    }
    return {"finding": _describe(rates)} | rates


def rate(hits: np.ndarray, groups: Groups) -> dict[str, Any] | None:
    """Returns the number of images, the fraction of hits, and its 95% interval; None if there are no images."""
    if not len(hits):
        return None
    group = np.unique(groups, return_inverse=True)[1]
    sums = {"hits": np.bincount(group, hits)[:, np.newaxis], "tries": np.bincount(group)[:, np.newaxis]}
    rng, value = np.random.default_rng(SEED), float(hits.mean())
    drawn = bootstrap.weighted_sums(rng, REPLICATES, sums)
    size = np.bincount(group)[group].mean()
    ratios = bootstrap.smoothed_ratio(rng, drawn["hits"], drawn["tries"], size, half=0.5)
    return {"count": len(hits), "rate": value, "interval": intervals.of_replicates(ratios, value)}


def measure_unseen(splits: Mapping[str, Split], test: Features) -> dict[str, Any] | None:
    """Returns how many test images of classes that a model never saw are flagged, as an estimate; see `rate`.

    A third of the classes is held out in turn: a detector is fitted to the images of the others, and finds those of the
    classes held out. Its features are the frozen model's, because fine-tuning has seen all classes; `test` are those of
    the test images. None with fewer than three classes, or too few validation images.
    """
    if len(splits["test"].classes) < TURNS:
        return None
    labels = {name: split.labels for name, split in splits.items()}
    of_known = {name: features.load({name: splits[name]}) for name in ("train", "validation")}
    flagged = np.zeros(len(test), bool)
    for turn in range(TURNS):
        detector = novelty.fit(*(x[labels[name] % TURNS != turn] for name, x in of_known.items()))
        if np.isinf(detector.threshold):
            return None
        held_out = labels["test"] % TURNS == turn
        flagged[held_out] = detector.novelty(test[held_out]) > 1
    return rate(flagged, splits["test"].manifest["group"].to_numpy())


def _describe(rates: Mapping[str, Any]) -> str:
    of_unseen = f" and {rates['unseen']['rate']:.1%} of images of unseen classes" if rates["unseen"] else ""
    return (
        f"Flagged as unlike the training images: {1 - rates['answered']['rate']:.1%} of the test images, "
        f"{rates['foreign']['rate']:.1%} of {rates['foreign']['count']} foreign images{of_unseen}."
    )
