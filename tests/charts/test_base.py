import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.charts import base as charts


def drawn(figure, tmp_path):
    """Saves a figure and returns its size in pixels."""
    charts.save(figure, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        image.load()
        return image.size


def test_the_history_marks_where_fine_tuning_starts_and_which_epochs_were_kept(tmp_path):
    epochs = np.arange(1, 6)
    history = pd.DataFrame(
        {
            "epoch": epochs,
            "phase": ["frozen"] * 2 + ["finetune"] * 3,
            "accuracy": epochs / 6,
            "val_accuracy": epochs / 7,
            "loss": 1 / epochs,
            "val_loss": 2 / epochs,
            "kept": [False, True, False, True, False],
        }
    )
    figure = charts.history(history)
    for axes, column in zip(figure.axes, ("accuracy", "loss")):
        training, validation, kept, start = axes.lines
        assert list(training.get_ydata()) == list(history[column])
        assert list(validation.get_ydata()) == list(history[f"val_{column}"])
        assert list(kept.get_xdata()) == [2, 4] and list(kept.get_ydata()) == list(history[f"val_{column}"][[1, 3]])
        assert set(start.get_xdata()) == {2.5} and start.get_label() == "fine-tuning starts"
    drawn(figure, tmp_path)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("short  name", "short name"),
        ("a_name_without_any_spaces_at_all", "a_nam…paces_at_all"),
        ("folder/deeper/still/0123.jpg", "folder/de…/0123.jpg"),
        ("folder/a_file_name_that_is_long.jpg", "f…_that_is_long.jpg"),
        ("5 $ or 10 $", r"5 \$ or 10 \$"),
    ],
)
def test_what_is_too_long_loses_its_middle_and_the_end_of_a_path_stays(text, short):
    assert charts.plain(text, 18 if "/" not in text else 19) == short


def test_letters_that_no_font_has_are_told_in_one_line(tmp_path, capsys):
    drawn(charts.grid(np.zeros((2, 8, 8, 3), np.uint8), ["\U0003fffd", "\U0003fffc"], "heading"), tmp_path)
    assert capsys.readouterr().err.count("\n") == 1
    drawn(charts.grid(np.zeros((2, 8, 8, 3), np.uint8), ["кошка", "αλεπού"], "heading"), tmp_path)
    assert capsys.readouterr().err == ""


def test_a_contact_sheet_shows_every_image_in_its_place(tmp_path):
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
