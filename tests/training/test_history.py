import json

import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.training import history


def some_epochs(kept=None):
    return pd.DataFrame(
        {
            "epoch": [3, 4],
            "phase": "finetune",
            "accuracy": [0.5, 0.6],
            "val_accuracy": [0.7, 0.8],
            "loss": [0.333333, 0.3],
            "val_loss": [0.2, 0.25],
            "learning_rate": 0.1,
            "kept": [number == kept for number in (3, 4)],
        }
    )


def test_the_best_epoch_is_the_first_of_equals():
    rows = [{"val_loss": loss, "val_accuracy": accuracy} for loss, accuracy in ((3, 0.5), (1, 0.9), (1, 0.9), (2, 0.1))]
    assert [history.best(rows, monitor) for monitor in ("val_loss", "val_accuracy", "none")] == [1, 1, 3]


def test_the_numbers_are_those_of_the_epoch_that_is_kept_and_of_the_last_until_then(workplace):
    for kept, epoch, loss in ((None, 4, 0.3), (3, 3, 0.333333)):
        history.write(some_epochs(kept), "deep/history.csv", "metrics.json", {"more": 1})
        numbers = json.loads((workplace.folder / "metrics.json").read_text())
        assert (
            numbers["best_epoch"] == epoch
            and numbers["epochs"] == 2
            and numbers["loss"] == loss
            and numbers["more"] == 1
        )
    pd.testing.assert_frame_equal(history.read("deep/history.csv"), some_epochs(3), check_exact=True)


def test_a_history_that_is_missing_or_still_growing_is_not_read(workplace):
    with pytest.raises(UserError, match="history.csv is missing: run `dvc repro` first"):
        history.read("history.csv")
    history.write(some_epochs(), "history.csv", "metrics.json", {})
    with pytest.raises(UserError, match="history.csv is of a training that was stopped: run `dvc repro`"):
        history.read("history.csv")
