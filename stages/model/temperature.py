"""Temperature scaling: calibration of predicted probabilities (C. Guo et al., ICML 2017, section 4.2)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from stages.common.arrays import Labels, Logits, Probabilities

RANGE = 0.05, 20  # lowest and highest temperature
# Standard deviation of the prior of log(T) around 0, chosen by cross-validation on the validation splits of four data
# sets (docs/benchmarks.md#are-the-probabilities-calibrated).
PRIOR = 0.2


def fit_temperature(labels: Labels, logits: Logits) -> float:
    """Returns the temperature that divides logits: the maximum a posteriori estimate under a log-normal prior around 1.

    It minimizes the sum of cross-entropies plus log(T)^2 / (2 PRIOR^2): the more images there are, the less the prior
    counts. Without a prior, the estimate from few images is far too low if hardly a prediction is wrong, and a single
    confident mistake makes it far too high. The images must be others than those of the training split.
    """
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)

    def loss(log_t: float) -> float:
        cross_entropy = -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels]
        return cross_entropy.sum() + log_t**2 / (2 * PRIOR**2)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(RANGE), method="bounded").x))


def scale_probabilities(probabilities: Probabilities, temperature: float | np.ndarray) -> Probabilities:
    """Returns calibrated probabilities, float64: softmax(logits / temperature), from softmax(logits).

    The temperature is above 0, one for all images or float [N, 1]; one above 1 lowers the confidence.
    """
    # A probability below 1e-300 was rounded down to 0, whose logarithm is infinite.
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), 1e-300)) / temperature, axis=1)
