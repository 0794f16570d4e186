"""The model that fine-tuning ends with: the fine-tuned or the frozen one."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from stages.common import history
from stages.common.arrays import Logits
from stages.training.fit import Result
from stages.training.validation import Validation


@dataclass(frozen=True)
class FrozenModel:
    """The model that fine-tuning starts from."""

    row: dict[str, Any]  # row of the history of train_frozen whose weights it has
    weights: list[np.ndarray]  # these weights, in Keras's order
    metrics: dict[str, float]  # its val_accuracy and val_loss
    logits: Logits  # its logits of the validation split


def measure(network: keras.Model, row: dict[str, Any], validate: Validation) -> FrozenModel:
    """Returns the frozen model, whose weights the network has, validated, and prints its metrics."""
    metrics, logits = validate()
    print(f"starting from the frozen model: {history.format_metrics(metrics)}", flush=True)
    return FrozenModel(row, network.get_weights(), metrics, logits)


def select(result: Result, frozen: FrozenModel, network: keras.Model, keep: str) -> Result:
    """Returns the outcome of fine-tuning with the model that is kept, whose weights the network then has.

    `keep` is "frozen", "finetuned", or "better": the one with the lower validation loss, the frozen one of equals. The
    metrics of the outcome name it as `model`; `candidates` has epoch, val_accuracy and val_loss of both.
    """
    measured = {"frozen": {"epoch": int(frozen.row["epoch"])} | frozen.metrics}
    measured["finetuned"] = {name: result.kept[name] for name in measured["frozen"]}
    worse = result.kept["val_loss"] >= frozen.metrics["val_loss"]
    if keep == "finetuned" or keep == "better" and not worse:
        return replace(result, metrics={"model": "finetuned", "candidates": measured})
    network.set_weights(frozen.weights)
    reason = ", because fine-tuning did not lower the validation loss" if keep == "better" else ""
    metrics = {"model": "frozen", "candidates": measured}
    return Result(result.rows, frozen.row | frozen.metrics, frozen.logits, f"the frozen model{reason}", metrics)
