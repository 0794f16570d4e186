"""The learning rate of a phase: warm-up, then constant or falling along a cosine."""

import math

from stages.common import params


def at(progress: float, phase: params.TrainFrozen) -> float:
    """Returns the learning rate at a step of a phase.

    It rises linearly for the fraction `warmup` of all steps (P. Goyal et al., 2017, section 2.2). From there on it is
    constant, or half a period of a cosine, which would reach 0 after the last step (I. Loshchilov, F. Hutter, SGDR,
    ICLR 2017, eq. 5). `progress` is the fraction of all steps that are over in the middle of the step, in (0, 1).
    """
    if progress < phase.warmup:
        return phase.learning_rate * progress / phase.warmup
    if phase.schedule == "constant":
        return phase.learning_rate
    fraction = (progress - phase.warmup) / (1 - phase.warmup)
    return phase.learning_rate * (1 + math.cos(math.pi * fraction)) / 2
