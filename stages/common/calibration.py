"""Calibration: probabilities that are right as often as they say."""

import numpy as np
from scipy import special


def apply(probabilities, temperature):
    """Returns p ** (1 / temperature), renormalised: the softmax of logits divided by the temperature, float [N, C].

    (C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2.)

    Args:
        probabilities: float [N, C], the softmax of logits.
        temperature: above 0; 1 changes nothing.
    """
    with np.errstate(divide="ignore"):  # 0 stays 0
        return special.softmax(np.log(probabilities) / temperature, axis=1)
