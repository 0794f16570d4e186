"""Novelty detection: fits what a SavedModel needs to tell images that are unlike the training images.

These are the principal components of the features of the training images, and a threshold of the residual, which
model.novelty defines. The threshold is the conformal quantile of the residuals of validation images (V. Vovk et al.,
"Algorithmic Learning in a Random World", 2005): of further images of their kind, at most 5% are expected above it.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from stages.common.arrays import Features
from stages.common.dataset import evenly_spaced
from stages.model.novelty import COMPONENTS, PCA, residuals

FLAGGED = 5  # percent: maximum part of the validation images that count as unlike the training images
FEWEST = 100 // FLAGGED - 1  # minimum number of validation images: of fewer, none may be flagged
MOST = 1000  # maximum number of training images, evenly spaced, that the components are computed from
RANK = 1e-9  # fraction of the largest eigenvalue, up to which others are rounding errors
MARGIN = 1e-4  # fraction by which the threshold is raised: features in float32 differ less from batch to batch
SMALLEST = 1e-3  # minimum threshold: below, the square of a residual in float32 is all rounding errors


class Detector(PCA):
    """Tells images that are unlike the training images.

    `components` has COMPONENTS rows; the threshold is infinite with fewer than FEWEST validation images.
    """

    def novelty(self, features: Features) -> np.ndarray:
        """Returns the novelty of images, float32 [N], as a SavedModel with `variables` does."""
        return self.residuals(features) / np.float32(self.threshold)

    def residuals(self, features: Features) -> np.ndarray:
        """Returns the residuals of images, float32 [N]."""
        features = np.asarray(features, np.float32)
        with threadpool_limits(1, "blas"):  # sums depend on the number of threads
            return np.asarray(residuals(features, self.mean, lambda centred: np.asarray(centred) @ self.components.T))

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of a SavedModel by name, for saved_model.copy."""
        return {f"novelty_{name}": getattr(self, name) for name in ("mean", "components", "threshold")}


def fit(train: Features, validation: Features) -> Detector:
    """Returns the detector for the features of training images, with the threshold from those of validation images.

    At most half as many components are used as the training images span dimensions: all of them would fit each image,
    and its noise. So two images, or any number of equal ones, give no component, and residuals from the mean.
    """
    units = to_unit(evenly_spaced(train, MOST)).astype(float)
    mean = units.mean(axis=0)
    components = np.zeros((COMPONENTS, units.shape[1]), np.float32)
    with threadpool_limits(1, "blas"):
        principal = _principal_components(units - mean)
    components[: len(principal)] = principal
    detector = Detector(mean.astype(np.float32), components, np.inf)
    of_validation = np.sort(detector.residuals(validation))
    place = -(-(100 - FLAGGED) * (len(of_validation) + 1) // 100)  # rounded up
    if place > len(of_validation):
        return detector
    return replace(detector, threshold=max(float(of_validation[place - 1]) * (1 + MARGIN), SMALLEST))


def _principal_components(centred: np.ndarray) -> np.ndarray:
    """Returns the orthonormal principal components, the first one first, at most COMPONENTS and half of the rank.

    They are computed from the products of images with each other, of which there are fewer than of features.
    """
    count = len(centred)
    most = (max(0, count - 2 * COMPONENTS), count - 1)
    values, vectors = linalg.eigh(centred @ centred.T, subset_by_index=most)
    rank = int((values > RANK * max(values[-1], RANK)).sum())
    order = np.argsort(-values)[: min(COMPONENTS, rank // 2)]
    return (vectors[:, order] / np.sqrt(values[order])).T @ centred


def to_unit(features: Features) -> Features:
    """Scales features of any floating-point type to unit norm, as float32."""
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
