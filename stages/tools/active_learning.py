"""Active learning: the unlabelled images whose labels would help most, from their features and predictions.

The images are clustered by k-means, in which uncertain images weigh more, and of each cluster the image nearest to its
centre is taken (CLUE, V. Prabhu et al., arXiv:2010.08666, 2021). So each stands for others that are as uncertain, and
no two are alike. `python -m tests.benchmarks.label_next` compares this with images at random and with other rankings.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from stages.common.arrays import Features
from stages.common.dataset import evenly_spaced
from stages.decoding.decode import decode
from stages.evaluation.novelty import to_unit
from stages.splits import near_duplicates
from stages.tools.inference import Prediction

MOST = 100  # maximum number of images that are selected: no more were measured
LARGE = 10_000  # maximum number of images, evenly spaced, that decide where the clusters lie
CHUNK = 1000  # images whose distances to all centres are in memory


@dataclass(frozen=True, slots=True)
class Candidate(Prediction):
    """The prediction of an image that is worth a label, and the number of other images that are similar to it."""

    similar_images: int = 0


def uncertainty(prediction: Prediction) -> float:
    """Returns 1 minus the margin between the two largest probabilities of a readable image."""
    second, first = sorted((prediction.probabilities or {}).values())[-2:]
    return 1 - (first - second)


def select(features: Features, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Selects at most MOST images of N, the most useful ones first.

    Args:
        features: of any floating-point type, [N, D].
        weights: uncertainties of the images, float [N].

    Returns:
        Rows of the images, int [K], and the number of further images in the cluster of each, int [K].
    """
    weights = np.maximum(weights, 1e-6)  # k-means takes no cluster without weight
    fitted = evenly_spaced(np.arange(len(features)), LARGE)
    means = KMeans(min(MOST, len(fitted)), n_init=1, random_state=0)
    means.fit(to_unit(features[fitted]), sample_weight=weights[fitted])
    clusters, distances = [], []
    for row in range(0, len(features), CHUNK):
        to_centres = means.transform(to_unit(features[row : row + CHUNK]))
        clusters.append(to_centres.argmin(axis=1))
        distances.append(to_centres.min(axis=1))
    images = pd.DataFrame({"cluster": np.concatenate(clusters), "distance": np.concatenate(distances)})
    found = (
        images.assign(weight=weights)
        .groupby("cluster")
        .agg(row=("distance", "idxmin"), images=("distance", "size"), weight=("weight", "sum"))
    )
    found = found.sort_values("weight", ascending=False, kind="stable")
    return found["row"].to_numpy(), found["images"].to_numpy() - 1


def without_near_duplicates(paths: Sequence[str], size: int, background: str) -> list[int]:
    """Returns the places of images that are no near-duplicates of earlier ones, compared at `size` pixels.

    An image that cannot be read any more is left out.
    """
    places, found = [], []
    for place, path in enumerate(paths):
        with contextlib.suppress(ValueError):
            found.append(near_duplicates.fingerprint(decode(path, size, background=background)[2]))
            places.append(place)
    if not found:
        return []
    fingerprints, thumbnails = (np.stack(part) for part in zip(*found, strict=True))
    firsts = np.unique(near_duplicates.find(fingerprints, thumbnails), return_index=True)[1]
    return [places[first] for first in np.sort(firsts)]
