import numpy as np
import pandas as pd
import pytest

from stages.charts import history as history_charts
from tests.charts.support import saved_size


def some_history(kept):
    epochs = np.arange(1, 6)
    return pd.DataFrame(
        {
            "epoch": epochs,
            "phase": ["train_frozen"] * 2 + ["finetune"] * 3,
            "accuracy": epochs / 6,
            "val_accuracy": epochs / 7,
            "loss": 1 / epochs,
            "val_loss": 2 / epochs,
            "kept": [epoch in kept for epoch in epochs],
        }
    )


@pytest.mark.parametrize("kept_epochs", [[2, 4], [2]])  # [2]: fine-tuning ended in the frozen model
def test_the_history_marks_where_fine_tuning_starts_and_which_epochs_were_kept(tmp_path, kept_epochs):
    history = some_history(kept_epochs)
    figure = history_charts.history(history)
    for axes, column in zip(figure.axes, ("accuracy", "loss"), strict=True):
        training, validation, kept, start = axes.lines
        assert list(training.get_ydata()) == list(history[column])
        assert list(validation.get_ydata()) == list(history[f"val_{column}"])
        assert list(kept.get_xdata()) == kept_epochs
        assert list(kept.get_ydata()) == list(history[f"val_{column}"][history["kept"]])
        assert set(start.get_xdata()) == {2.5} and start.get_label() == "fine-tuning starts"
    saved_size(figure, tmp_path)
