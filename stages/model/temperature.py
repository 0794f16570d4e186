"""Temperature scaling: calibration of predicted probabilities (C. Guo et al., ICML 2017, section 4.2)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

RANGE = 0.05, 20  # of temperatures, so that one is found for predictions that are worse than guesses, too


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the temperature that divides logits so that the mean cross-entropy is lowest.

    As in J. Platt, "Probabilities for SVMs" (1999), section 2.2, a label counts as (N + 1) / (N + 2) and not as
    certain, as if one image more had been right and one wrong. Few images with hardly a mistake among them would
    otherwise call for a
    temperature near 0: for probabilities that are more confident than the sample supports.

    Args:
        labels: int [N], of images that training did not learn from.
        logits: float [N, 1], that of the second class, where there are two classes, and [N, C] otherwise.
    """
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    count, classes = logits.shape
    targets = np.full_like(logits, 1 / (count + 2) / (classes - 1))
    targets[np.arange(count), labels] = (count + 1) / (count + 2)
    found = minimize_scalar(
        lambda exponent: -(targets * log_softmax(logits / np.exp(exponent), axis=1)).sum(axis=1).mean(),
        bounds=np.log(RANGE),
        method="bounded",
    )
    return float(np.exp(found.x))


def scale_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities after scaling, float64 [N, C]: softmax(logits / temperature), from softmax(logits).

    Args:
        probabilities: float [N, C].
        temperature: above 0; above 1 makes them less confident.
    """
    # Never log(0): a probability below 1e-300 was rounded down to 0.
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), 1e-300)) / temperature, axis=1)
