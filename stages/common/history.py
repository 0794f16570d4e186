"""The history of training: a row per epoch, in a CSV file that grows while training runs.

`rows` are the epochs of one phase, dicts with COLUMNS except `kept`. `kept` is the row of the epoch whose weights are
kept, of this phase or of the phase before.
"""

from typing import Any

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.cli import UserError

COLUMNS = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate", "kept"]
TYPES = {"epoch": int, "phase": str} | dict.fromkeys(["accuracy", "val_accuracy", "loss", "val_loss"], float)
METRICS = ["accuracy", "loss", "val_accuracy", "val_loss"]
HEADER = f"epoch  {'  '.join(f'{name:>12}' for name in METRICS)}  seconds"  # header of the lines of format_epoch


def best(rows: list[dict[str, Any]], monitor: str) -> int:
    """Returns the place of the best epoch in `rows`, the first of equals; if `monitor` is "none", of the last epoch."""
    if monitor == "none":
        return len(rows) - 1
    values = [row[monitor] for row in rows]
    return int(np.argmin(values) if monitor == "val_loss" else np.argmax(values))


def format_epoch(row: dict[str, Any], seconds: float) -> str:
    """Formats an epoch and its duration as a line below HEADER."""
    return f"{row['epoch']:5}  {'  '.join(f'{row[name]:12.4f}' for name in METRICS)}  {seconds:7.1f}"


def format_metrics(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def table(rows: list[dict[str, Any]], kept: dict[str, Any] | None = None) -> pd.DataFrame:
    """Returns rows as a DataFrame with COLUMNS. Without `kept`, while training runs, that column is empty."""
    marks = [None if kept is None else row["epoch"] == kept["epoch"] for row in rows]
    return pd.DataFrame(rows).assign(kept=marks)[COLUMNS]


def summary(rows: list[dict[str, Any]], kept: dict[str, Any]) -> dict[str, Any]:
    """Returns the metrics of a phase: kept_epoch, epochs (their number), and METRICS of the epoch that is kept."""
    return {"kept_epoch": int(kept["epoch"]), "epochs": len(rows)} | {name: float(kept[name]) for name in METRICS}


def write(history: pd.DataFrame, metrics: dict[str, Any], path: str, metrics_path: str) -> None:
    """Replaces a history (`table`) and its metrics (`summary`), so that both can be watched while training runs."""
    with files.replacing(history=path, metrics=metrics_path) as out:
        files.write_csv(history, out.history)
        files.write_json(metrics, out.metrics)


def read(path: str) -> pd.DataFrame:
    """Reads the history of a phase. Raises a UserError if it is missing or damaged, or if training has not ended."""
    try:
        with files.checked(path):
            history = files.read_csv(path, types=TYPES)[COLUMNS]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first.") from None
    if history["kept"].dtype != bool:
        raise UserError(f"{path} is of a training that was stopped: run `dvc repro`, which resumes it.")
    return history
