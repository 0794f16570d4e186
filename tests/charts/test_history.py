import numpy as np
import pandas as pd
import pytest

from stages.charts import base, history as history_charts
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
@pytest.mark.parametrize("column", ["accuracy", "loss"])
def test_the_history_has_a_colour_for_each_model_a_dash_for_each_split_and_marks_what_was_kept(
    tmp_path, column, kept_epochs
):
    history = some_history(kept_epochs)
    figure = history_charts.panel(history, column, [])
    [axes] = figure.axes
    *lines, kept = axes.lines
    expected = [
        (phase, name, base.LIGHT[model], base.DASHES[split])
        for phase, model in (("train_frozen", "frozen"), ("finetune", "finetuned"))
        for split, name in (("training", column), ("validation", f"val_{column}"))
    ]
    for line, (phase, name, colour, dashes) in zip(lines, expected, strict=True):
        part = history[history["phase"] == phase]
        if phase == "finetune" and name.startswith("val_"):  # starts at the frozen model
            part = history[(history["phase"] == phase) | (history["epoch"] == 2)]
        assert list(line.get_xdata()) == list(part["epoch"]) and list(line.get_ydata()) == list(part[name])
        assert line.get_color() == colour and line._unscaled_dash_pattern == dashes
    assert list(kept.get_xdata()) == kept_epochs
    assert list(kept.get_ydata()) == list(history[f"val_{column}"][history["kept"]])
    saved_size(figure, tmp_path)


def test_early_losses_hide_no_later_ones():
    history = some_history([2]).assign(loss=[9, 0.5, 0.1, 0.02, 0.01], val_loss=[8, 1, 0.2, 0.1, 0.08])
    figure = history_charts.panel(history, "loss", [])
    base.svg(figure, "")
    [axes] = figure.axes
    last = [axes.transData.transform((5, loss))[1] for loss in (0.01, 0.02, 0.1)]
    assert min(np.diff(last)) > 0.05 * axes.get_window_extent().height


def test_both_panels_stand_side_by_side(tmp_path):
    figure = history_charts.panels(some_history([2, 4]), [])
    assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["Accuracy", "Cross-entropy"]
    [legend] = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["Frozen", "Fine-tuned", "training", "validation", "kept"]
    saved_size(figure, tmp_path)


@pytest.mark.parametrize(
    ("averaged", "kept", "label"),
    [
        ([], [2, 4], "kept"),
        (["finetune"], [2, 4], "kept (averaged: fine-tuned)"),
        (["train_frozen", "finetune"], [2, 4], "kept (averaged: frozen, fine-tuned)"),
        (["finetune"], [2], "kept"),  # the frozen model is
    ],
)
def test_the_ring_says_where_averages_are_kept(averaged, kept, label, tmp_path):
    figure = history_charts.panels(some_history(kept), averaged)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == label
    saved_size(figure, tmp_path)
    saved_size(history_charts.panel(some_history(kept), "loss", averaged), tmp_path)
