"""The training history: a row per epoch, on disk as CSV, growing while training runs."""

from typing import Any

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.cli import UserError

COLUMNS = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate", "kept"]
METRICS = ["accuracy", "loss", "val_accuracy", "val_loss"]
HEADER = f"epoch  {'  '.join(f'{name:>12}' for name in METRICS)}  seconds"  # of the lines of format_epoch


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


def format_epoch(row: dict[str, Any], seconds: float) -> str:
    """Returns an epoch, which took so long, as a line of the table below HEADER."""
    return f"{row['epoch']:5}  {'  '.join(f'{row[name]:12.4f}' for name in METRICS)}  {seconds:7.1f}"


def format_metrics(metrics: dict[str, float]) -> str:
    """Returns numbers and their names for the terminal."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def table(rows: list[dict[str, Any]], kept: dict[str, Any] | None = None) -> pd.DataFrame:
    """Returns rows of a phase as a DataFrame with COLUMNS; `kept` marks the row whose weights are kept.

    Args:
        rows: dicts with COLUMNS but for `kept`.
        kept: one of them, or one of the phase before, or None while training goes on.
    """
    marks = [None if kept is None else row["epoch"] == kept["epoch"] for row in rows]
    return pd.DataFrame(rows).assign(kept=marks)[COLUMNS]


def summary(rows: list[dict[str, Any]], kept: dict[str, Any]) -> dict[str, Any]:
    """Returns the metrics of a phase: the epoch whose weights are kept, the number of epochs, and that epoch's METRICS.

    Args:
        rows: of the history of the phase.
        kept: the row whose weights are kept, of this phase or of the one before.
    """
    return {"best_epoch": int(kept["epoch"]), "epochs": len(rows)} | {name: float(kept[name]) for name in METRICS}


def write(history: pd.DataFrame, metrics: dict[str, Any], path: str, metrics_path: str) -> None:
    """Writes a history and its metrics in place of the last ones, so that both can be monitored.

    Args:
        history: DataFrame with COLUMNS. In one that is still growing `kept` is None.
        metrics: of `summary`, and more.
        path: of the CSV file.
        metrics_path: of the JSON file.
    """
    with files.replacing(history=path, metrics=metrics_path) as out:
        files.write_csv(history, out.history)
        files.write_json(metrics, out.metrics)


def read(path: str) -> pd.DataFrame:
    """Returns the history of a training that has ended, with COLUMNS.

    Raises:
        UserError: there is none, or its training was stopped.
    """
    try:
        history = files.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first.") from None
    if history["kept"].dtype != bool:
        raise UserError(f"{path} is of a training that was stopped: run `dvc repro`, which resumes it.")
    return history
