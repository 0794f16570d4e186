"""The training history: a row per epoch, on disk as CSV, growing while training runs."""

from typing import Any

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.cli import UserError

COLUMNS = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate", "kept"]
METRICS = ["accuracy", "val_accuracy", "loss", "val_loss"]


def best(rows: list[dict[str, Any]], monitor: str) -> int:
    """Returns the place of the best epoch in `rows`, the first of equals.

    Args:
        rows: at least one dict with the key `monitor`.
        monitor: "val_loss", the lowest is best; "val_accuracy", the highest; or "none", the last epoch counts as best.
    """
    if monitor == "none":
        return len(rows) - 1
    values = [row[monitor] for row in rows]
    return int(np.argmin(values) if monitor == "val_loss" else np.argmax(values))


def format_epoch(row: dict[str, Any]) -> str:
    """Returns an epoch as a line for the terminal."""
    return f"epoch {row['epoch']}: " + ", ".join(f"{name} {row[name]:.4f}" for name in METRICS)


def write(history: pd.DataFrame, path: str, metrics_path: str, extra: dict[str, Any]) -> None:
    """Writes a history and its metrics in place of the last ones, so that both can be monitored.

    Args:
        history: DataFrame with COLUMNS. In one that is still growing no epoch is `kept`.
        path: of the CSV file.
        metrics_path: of a JSON file with the epoch that is kept (until then, the last), the number of epochs, and that
            epoch's METRICS.
        extra: what else belongs into it.
    """
    row = (history[history["kept"]] if history["kept"].any() else history).iloc[-1]
    metrics = {name: float(row[name]) for name in ("accuracy", "loss", "val_accuracy", "val_loss")}
    with files.replacing(history=path, metrics=metrics_path) as out:
        files.write_csv(history, out.history)
        files.write_json({"best_epoch": int(row["epoch"]), "epochs": len(history), **metrics, **extra}, out.metrics)


def read(path: str) -> pd.DataFrame:
    """Returns the history of a training that has ended, with COLUMNS.

    Raises:
        UserError: there is none, or its training was stopped.
    """
    try:
        history = files.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first.") from None
    if not history["kept"].any():
        raise UserError(f"{path} is of a training that was stopped: run `dvc repro`, which resumes it.")
    return history
