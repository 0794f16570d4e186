"""Novelty detection: which images are unlike the training images, by the distances of their features.

The distance of an image is that to the nearest training image, of features of unit norm (Y. Sun et al.,
"Out-of-distribution detection with deep nearest neighbors", arXiv:2204.06507, 2022).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.common import files
from stages.common.arrays import Features
from stages.common.dataset import evenly_spaced

FILE = "data/evaluation/known_features.npz"  # what `save` writes, of the fine-tuned model
FLAGGED = 0.05  # maximum fraction of the validation images that count as unlike the training images
MOST = 5000  # maximum number of training images, evenly spaced, that are compared


@dataclass(frozen=True)
class Detector:
    """Tells images that are unlike the training images.

    Attributes:
        known: unit vectors of the training images, float32 [K, D].
        threshold: largest distance of an image that is like them.
    """

    known: Features
    threshold: float

    def distances(self, features: Features) -> np.ndarray:
        """Returns the cosine distance of each image to the nearest training image, float32 [N] in [0, 2]."""
        return 1 - (to_unit(features) @ self.known.T).max(axis=1)

    def are_unlike(self, features: Features) -> np.ndarray:
        """Returns whether images are unlike the training images, bool [N]."""
        return self.distances(features) > self.threshold


def save(path: Path, train: Features, validation: Features) -> None:
    """Writes what `load` reads: features of training images, and the threshold, set on those of validation images."""
    known = evenly_spaced(train, MOST).astype(np.float16)
    distances = Detector(to_unit(known), 0).distances(validation)
    threshold = np.sort(distances)[::-1][int(FLAGGED * len(distances))]
    np.savez(path, known=known, threshold=threshold)


def load(path: Path) -> Detector | None:
    """Returns the detector that `save` wrote, or None without such a file. Raises a UserError if it is damaged."""
    try:
        with files.checked(path):
            saved = files.read_arrays(path)
            return Detector(to_unit(saved["known"]), float(saved["threshold"]))
    except (FileNotFoundError, NotADirectoryError):
        return None


def to_unit(features: Features) -> Features:
    """Scales features of any floating-point type to unit norm, as float32."""
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
