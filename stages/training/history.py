"""The history of training: a row per epoch, on disk as CSV, growing while training runs."""

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.cli import UserError

COLUMNS = ["epoch", "phase", "accuracy", "val_accuracy", "loss", "val_loss", "learning_rate", "kept"]


def best(rows, monitor):
    """Returns the place of the best epoch in `rows`, the first of equals.

    Args:
        rows: at least one dict with the key `monitor`.
        monitor: "val_loss", the lowest is best; "val_accuracy", the highest; or "none", the last epoch counts as best.
    """
    if monitor == "none":
        return len(rows) - 1
    values = [row[monitor] for row in rows]
    return int(np.argmin(values) if monitor == "val_loss" else np.argmax(values))


def write(history, path, metrics_path, extra=None):
    """Writes a history and what it comes to in place of the last ones, so that both can be watched as they grow.

    Args:
        history: DataFrame with COLUMNS. In one that is still growing no epoch is `kept`.
        path: of the CSV file.
        metrics_path: of a JSON file with the epoch that is kept (until then, the last), the number of epochs, and that
            epoch's accuracy, loss, val_accuracy and val_loss.
        extra: dict of what else belongs into it.
    """
    row = (history[history["kept"]] if history["kept"].any() else history).iloc[-1]
    numbers = {name: float(row[name]) for name in ("accuracy", "loss", "val_accuracy", "val_loss")}
    with files.replacing(path, metrics_path) as (history_file, metrics_file):
        history.to_csv(history_file, index=False)
        files.write_json({"epoch": int(row["epoch"]), "epochs": len(history), **numbers, **(extra or {})}, metrics_file)


def read(path):
    """Returns the history of a training that has ended, a DataFrame with COLUMNS.

    Raises:
        UserError: there is none, or its training was stopped.
    """
    try:
        history = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro` first.") from None
    if not history["kept"].any():
        raise UserError(f"{path} is of a training that was stopped: run `dvc repro`, which goes on from there.")
    return history
