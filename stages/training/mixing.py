"""Weight-space ensembles of the frozen and the fine-tuned model (M. Wortsman et al., "WiSE-FT", CVPR 2022)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from stages.common import history

# Of fine-tuned weights. All of them, 1, as one more candidate made the choice worse more often than better
# (docs/benchmarks.md).
FRACTIONS = (0.0, 0.25, 0.5, 0.75)


def mix(
    network: keras.Model,
    start: Sequence[np.ndarray],
    validation: Callable[[], tuple[dict[str, float], np.ndarray]],
    fraction: float | str,
) -> tuple[float, dict[str, float], np.ndarray]:
    """Mixes the weights of a network with those that fine-tuning started from.

    Args:
        network: the fine-tuned model. At the end it has the mixed weights.
        start: weights of the frozen model, in the same order.
        validation: loop.Validation of the network.
        fraction: of the fine-tuned weights, the rest being the frozen model's: 0 to 1; or "auto", the one of FRACTIONS
            with the lowest validation loss, the smallest of equals.

    Returns:
        (float, dict, array): the fraction, and what `validation` gives for the mixed weights.
    """
    end, candidates = network.get_weights(), []

    def set_mixed(fraction: float) -> None:
        network.set_weights(
            [b if fraction == 1 else a + (b - a) * np.float32(fraction) for a, b in zip(start, end, strict=True)]
        )

    for candidate in FRACTIONS if fraction == "auto" else [float(fraction)]:
        set_mixed(candidate)
        candidates.append((candidate, *validation()))
    best = min(candidates, key=lambda candidate: candidate[1]["val_loss"])
    set_mixed(best[0])
    return best


def describe(metrics: dict[str, Any], chosen: bool) -> str:
    """Says which model is kept, from the metrics of fine-tuning (loop.Result), and whether the mix was chosen."""
    numbers = history.format_metrics({name: metrics[name] for name in ("val_accuracy", "val_loss")})
    if not metrics["mix"]:
        reason = ", because fine-tuning did not lower the validation loss" if chosen else ""
        return f"kept: the frozen model{reason}: {numbers}"
    kept = f"epoch {metrics['best_epoch']}"
    if metrics["mix"] < 1:
        kept = f"{metrics['mix']:.0%} of the weights of {kept}, the rest being the frozen model's"
    return f"kept: {kept}: {numbers}"
