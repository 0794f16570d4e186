"""The learning rate of a phase: how high it is, its warm-up, and whether it then falls along a cosine."""

import math

import numpy as np

from stages.common import params


def for_fine_tuning(settings: params.Finetune, loss: float) -> params.TrainFrozen:
    """Returns settings of fine-tuning in which the learning rate is a number.

    "auto" is 0.00006 times the square root of the frozen model's training loss, up to 0.2 nats. Adam divides gradients
    by their size, which is smaller where less is left to learn; this makes steps shorter again. The numbers were chosen
    on the validation splits of five data sets (docs/benchmarks.md).
    """
    rate = settings.learning_rate
    if rate == "auto":
        rate = 0.00006 * math.sqrt(min(loss, 0.2))
        print(f"learning rate {rate:.2g}, for a training loss of {loss:.2g} of the frozen model", flush=True)
    shared = settings.model_dump(include=set(params.TrainFrozen.model_fields))
    return params.TrainFrozen(**shared | {"learning_rate": rate})


def schedule(phase: params.TrainFrozen, steps: int) -> np.ndarray:
    """Returns the learning rate at each of the steps of a phase, float32 [steps].

    It rises linearly for the fraction `warmup` of all steps (P. Goyal et al., 2017, section 2.2). From there on it is
    constant, or half a period of a cosine, which would reach 0 after the last step (I. Loshchilov, F. Hutter, SGDR,
    ICLR 2017, eq. 5). A step's rate is that of its middle.
    """
    progress = (np.arange(steps) + 0.5) / steps
    fraction = np.clip((progress - phase.warmup) / (1 - phase.warmup), 0, 1) if phase.schedule == "cosine" else 0
    warm = np.minimum(progress / phase.warmup, 1) if phase.warmup else 1
    return np.float32(phase.learning_rate * warm * (1 + np.cos(np.pi * fraction)) / 2) * np.ones(steps, np.float32)
