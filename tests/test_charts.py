import numpy as np
import pandas as pd
from PIL import Image

from stages.common import charts


def drawn(figure, tmp_path):
    """Saves a figure and returns its size in pixels."""
    charts.save(figure, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        image.load()
        return image.size


def test_the_history_marks_where_fine_tuning_starts_and_which_epochs_were_kept(tmp_path):
    epochs = np.arange(1, 6)
    history = pd.DataFrame({"epoch": epochs, "phase": ["frozen"] * 2 + ["finetune"] * 3, "accuracy": epochs / 6,
                            "val_accuracy": epochs / 7, "loss": 1 / epochs, "val_loss": 2 / epochs,
                            "kept": [False, True, False, True, False]})
    figure = charts.history(history)
    for axes, column in zip(figure.axes, ("accuracy", "loss")):
        training, validation, kept, start = axes.lines
        assert list(training.get_ydata()) == list(history[column])
        assert list(validation.get_ydata()) == list(history[f"val_{column}"])
        assert list(kept.get_xdata()) == [2, 4] and list(kept.get_ydata()) == list(history[f"val_{column}"][[1, 3]])
        assert set(start.get_xdata()) == {2.5} and start.get_label() == "fine-tuning starts"
    drawn(figure, tmp_path)


def test_predictions_name_the_true_class_of_what_is_wrong(tmp_path):
    table = pd.DataFrame({"actual": ["cat", "$dog$ _x"], "predicted": ["cat", "cat"], "probability": [0.91, 0.6]})
    figure = charts.predictions(np.zeros((2, 8, 8, 3), np.uint8), table)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["cat 91%\nright", "cat 60%\nwrong: it is \\$dog\\$ _x"]
    drawn(figure, tmp_path)


def test_a_contact_sheet_shows_every_picture_in_its_place(tmp_path):
    thumbnails = np.full((3, 2, 8, 8, 3), 255, np.uint8)
    thumbnails[1, 1] = (255, 0, 0)
    figure = charts.contact_sheet(thumbnails, ["a", "b", "c"], "heading")
    [axes] = figure.axes
    sheet = np.asarray(axes.images[0].get_array())
    assert (sheet[12:20, 12:20] == (255, 0, 0)).all() and (sheet[:12] == 255).all() and (sheet[:, :12] == 255).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    drawn(figure, tmp_path)


def test_two_hundred_classes_are_drawn_at_a_size_that_can_be_read(tmp_path):
    classes = [f"class {number}" for number in range(200)]
    width, height = drawn(charts.contact_sheet(np.zeros((200, 8, 64, 64, 3), np.uint8), classes, "heading"), tmp_path)
    assert height > 200 * 64 and width > 8 * 64
    drawn(charts.sizes(np.full((400, 2), 30), np.arange(400) % 200, classes), tmp_path)
