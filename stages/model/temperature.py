"""Temperature scaling: calibration of predicted probabilities (C. Guo et al., ICML 2017, section 4.2)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

RANGE = 0.05, 20  # of temperatures
# Standard deviation of log(T) around 0, before any image has been seen. Chosen by cross-validation on the validation
# splits of four data sets (docs/benchmarks.md, "Calibration").
PRIOR = 0.2


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the temperature that divides logits: the maximum a posteriori estimate under a log-normal prior around 1.

    It minimizes the sum of cross-entropies plus log(T)^2 / (2 PRIOR^2): the more images there are, the less the prior
    counts. Without a prior, few images with hardly a mistake among them call for a temperature that is far too low, or,
    because of a single one, far too high.

    Args:
        labels: int [N], of images that training did not learn from.
        logits: float [N, 1], that of the second class, where there are two classes, and [N, C] otherwise.
    """
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)

    def loss(log_t: float) -> float:
        cross_entropy = -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels]
        return cross_entropy.sum() + log_t**2 / (2 * PRIOR**2)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


def scale_probabilities(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Returns the probabilities after scaling, float64 [N, C]: softmax(logits / temperature), from softmax(logits).

    Args:
        probabilities: float [N, C].
        temperature: above 0; above 1 makes them less confident. One for all, or float [N, 1].
    """
    # Never log(0): a probability below 1e-300 was rounded down to 0.
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), 1e-300)) / temperature, axis=1)
