"""Novelty: how far the features of an image are from those of the training images, the residual of a PCA.

The residual is what the principal components of the training images do not explain, as in H. Wang et al., "ViM:
Out-of-distribution with virtual-logit matching", CVPR 2022, section 4.1. Divided by a threshold, it is the output
`novelty` of every model file: above 1, the image is unlike the training images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

COMPONENTS = 64  # number of principal components that a SavedModel holds
SMALLEST = 2.0**-20  # lowest squared length of features, a number that float16 holds exactly; 0 would give no direction


@dataclass(frozen=True)
class PCA:
    """A PCA of features of length 1, and the highest residual of an image that is like the training images.

    Attributes:
        mean: float32 [D].
        components: float32 [K, D], orthonormal rows, or rows of 0.
        threshold: positive, may be infinite.
    """

    mean: np.ndarray
    components: np.ndarray
    threshold: float


def residuals(features: Any, mean: Any, project: Callable[[Any], Any]) -> Any:
    """Returns the residual of each image, float32 [N] in [0, 2], from pooled features, float32 [N, D].

    The features, scaled to length 1, are taken relative to their `mean`, float32 [D] ("centred"); `project` maps
    centred features to the principal components, [N, D] to [N, K]. The residual is the length of the rest. Arrays,
    tensors and Keras's symbolic tensors will do.
    """
    squared_length = ops.sum(ops.square(features), axis=1, keepdims=True)
    centred = features / ops.sqrt(ops.maximum(squared_length, SMALLEST)) - mean
    explained = ops.sum(ops.square(project(centred)), axis=1)
    return ops.sqrt(ops.maximum(ops.sum(ops.square(centred), axis=1) - explained, 0.0))
