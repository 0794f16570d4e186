import json

import pandas as pd
import pytest

from stages.common import history
from stages.common.cli import UserError

FROZEN = {"epoch": 2, "accuracy": 0.1, "val_accuracy": 0.2, "loss": 0.3, "val_loss": 0.4}


def some_rows():
    return [
        {
            "epoch": epoch,
            "phase": "finetune",
            "accuracy": accuracy,
            "loss": loss,
            "learning_rate": 0.1,
            "val_accuracy": 0.7,
            "val_loss": 0.2,
        }
        for epoch, accuracy, loss in ((3, 0.5, 0.333333), (4, 0.6, 0.3))
    ]


def test_the_best_epoch_is_the_first_of_equals():
    rows = [{"val_loss": loss, "val_accuracy": accuracy} for loss, accuracy in ((3, 0.5), (1, 0.9), (1, 0.9), (2, 0.1))]
    assert [history.best(rows, monitor) for monitor in ("val_loss", "val_accuracy", "none")] == [1, 1, 3]


def test_a_table_marks_the_epoch_that_is_kept():
    rows = some_rows()
    for kept, marks in ((rows[0], [True, False]), (FROZEN, [False, False])):
        table = history.table(rows, kept)
        assert list(table.columns) == history.COLUMNS and table["epoch"].tolist() == [3, 4]
        assert table["kept"].tolist() == marks and table["kept"].dtype == bool
    assert history.table(rows)["kept"].tolist() == [None, None]


def test_the_summary_is_that_of_the_epoch_that_is_kept():
    rows = some_rows()
    values = {"accuracy": 0.5, "loss": 0.333333, "val_accuracy": 0.7, "val_loss": 0.2}
    assert history.summary(rows, rows[0]) == {"kept_epoch": 3, "epochs": 2, **values}
    of_frozen = history.summary(rows, FROZEN)
    assert of_frozen["kept_epoch"] == 2 and of_frozen["epochs"] == 2 and of_frozen["loss"] == 0.3


@pytest.mark.parametrize("kept", [some_rows()[0], FROZEN])
def test_a_history_is_read_as_it_was_written_beside_its_metrics(workplace, kept):
    table = history.table(some_rows(), kept)
    history.write(table, {"kept_epoch": 3, "loss": 1 / 3}, "deep/history.csv", "metrics.json")
    pd.testing.assert_frame_equal(history.read("deep/history.csv"), table, check_exact=True)
    numbers = json.loads((workplace.folder / "metrics.json").read_text())
    assert numbers["kept_epoch"] == 3 and numbers["loss"] == pytest.approx(1 / 3)


def test_a_history_that_is_missing_or_still_growing_is_not_read(workplace):
    with pytest.raises(UserError, match="history.csv is missing: run `dvc repro` first"):
        history.read("history.csv")
    history.write(history.table(some_rows()), {}, "history.csv", "metrics.json")
    with pytest.raises(UserError, match="history.csv is of a training that was stopped: run `dvc repro`"):
        history.read("history.csv")


@pytest.mark.parametrize(
    ("old", "new"), [("val_loss", "loss_of_val"), ("0.333333", "a third"), ("3,", ","), (",", ";")]
)
def test_a_damaged_history_is_named(workplace, old, new):
    history.write(history.table(some_rows(), FROZEN), {}, "history.csv", "metrics.json")
    path = workplace.folder / "history.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=r"^history.csv is damaged or of an earlier version: run `dvc repro`.$"):
        history.read("history.csv")
