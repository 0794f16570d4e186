"""When training stops early, and which weights it keeps."""

import numpy as np
import pytest

from stages.common import history
from tests.support import make_split
from tests.training.support import Recorder, history_of, same, scripted_validation, small, train

SPLIT = make_split(8, ["a", "b"])
CANDIDATE = {"epoch": 5, "accuracy": 0.5, "loss": 0.8, "val_accuracy": 0.8, "val_loss": 0.4}  # row of a history


@pytest.fixture(autouse=True)
def in_workplace(workplace, steps):
    """Every test has a working folder of its own, and steps that need no gradients."""


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_stops_when_the_monitored_value_gets_no_better_and_keeps_the_best_weights(capsys, monitor):
    validate = scripted_validation(0.9, 0.5, 0.7, 0.5, 0.1)  # equal is no better
    model = small()
    recorder = Recorder(model)
    result = train(model, SPLIT, recorder, validate, epochs=9, monitor=monitor, patience=2)
    assert history_of(result)["kept"].tolist() == [False, True, False, False]
    assert same(model, recorder[1]) and not same(model, recorder[3])
    assert result.description == f"epoch 2, which has the best {monitor}" and result.kept["val_loss"] == 0.5
    header, *rows, stopped = capsys.readouterr().out.splitlines()
    assert header == history.HEADER and [len(row) for row in rows] == [len(header)] * 4
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"] and rows[0].split()[3:5] == ["0.5500", "0.9000"]
    assert stopped == f"stopped early: no better {monitor} in 2 epochs"


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_model_that_training_starts_from_is_a_candidate(monitor):
    validate = scripted_validation(0.6, 0.5, 0.4)  # none is better
    options = {"epochs": 9, "monitor": monitor, "patience": 3, "candidate": CANDIDATE, "initial_epoch": 6}
    assert [row["epoch"] for row in train(small(), SPLIT, validate=validate, **options).rows] == [6, 7, 8]


def test_without_a_candidate_the_first_epoch_is_the_best_so_far():
    rows = train(small(), SPLIT, validate=scripted_validation(9, 8, 7), epochs=3, monitor="val_loss", patience=1).rows
    assert len(rows) == 3


def test_without_a_monitor_all_epochs_run_and_the_last_is_kept():
    model = small()
    recorder = Recorder(model)
    result = train(model, SPLIT, recorder, scripted_validation(0.1, 0.5, 0.7, 0.9), epochs=4, patience=1)
    assert history_of(result)["kept"].tolist() == [False, False, False, True]
    assert same(model, recorder[3])


def test_averaged_weights_are_said_to_be_that():
    result = train(small(), SPLIT, validate=scripted_validation(0.1), averaging=0.3)
    assert result.description == "epoch 1, the last, with weights averaged over about 30% of all steps"


@pytest.mark.parametrize(("monitor", "kept"), [("none", 0.7), ("val_loss", 0.3)])
def test_the_logits_are_those_of_the_epoch_that_is_kept(monitor, kept):
    validate = scripted_validation(0.5, 0.3, 0.7)  # its logits are these numbers
    result = train(small(), SPLIT, validate=validate, epochs=3, monitor=monitor, patience=3)
    assert result.logits == np.float32([[kept]]) and result.kept["val_loss"] == kept
