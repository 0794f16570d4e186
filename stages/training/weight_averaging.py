"""Weight-space ensembles of the frozen and the fine-tuned model (M. Wortsman et al., "WiSE-FT", CVPR 2022)."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from stages.common import history
from stages.training.fit import Result
from stages.training.validation import Validation

# Fractions of fine-tuned weights. All of them, 1, as one more candidate made the choice worse more often than better
# (docs/benchmarks.md).
FRACTIONS = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class FrozenModel:
    """The model that fine-tuning starts from."""

    row: dict[str, Any]  # row of the history of train_frozen whose weights it has
    weights: list[np.ndarray]  # these weights, in Keras's order
    metrics: dict[str, float]  # its val_accuracy and val_loss


def measure(network: keras.Model, row: dict[str, Any], validate: Validation) -> FrozenModel:
    """Returns the frozen model, whose weights the network has, validated, and prints its metrics."""
    weights, (metrics, _) = network.get_weights(), validate()
    print(f"starting from the frozen model: {history.format_metrics(metrics)}", flush=True)
    return FrozenModel(row, weights, metrics)


def mix(
    result: Result, frozen: FrozenModel, network: keras.Model, validate: Validation, fraction: float | str
) -> Result:
    """Gives a fine-tuned network a mix of its weights and those of the frozen model, and returns the new outcome.

    The fraction of fine-tuned weights is from 0 to 1; "auto" stands for that of FRACTIONS with the lowest validation
    loss, the smallest of equals. The metrics of the outcome have it as `mix`, and those of the frozen model as `start`.
    """
    tuned, candidates = network.get_weights(), []

    def set_mixed(fraction: float) -> None:
        pairs = zip(frozen.weights, tuned, strict=True)
        network.set_weights([b if fraction == 1 else a + (b - a) * np.float32(fraction) for a, b in pairs])

    for candidate in FRACTIONS if fraction == "auto" else [float(fraction)]:
        set_mixed(candidate)
        candidates.append((candidate, *validate()))
    best, metrics, logits = min(candidates, key=lambda candidate: candidate[1]["val_loss"])
    set_mixed(best)
    if best == 0:
        reason = ", because fine-tuning did not lower the validation loss" if fraction == "auto" else ""
        description = f"the frozen model{reason}"
    elif best == 1:
        description = result.description
    else:
        description = f"{best:.0%} of the weights of {result.description}, the rest being the frozen model's"
    kept = (result.kept if best else frozen.row) | metrics
    return Result(result.rows, kept, logits, description, {"mix": best, "start": frozen.metrics})
