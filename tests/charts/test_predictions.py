import numpy as np
import pandas as pd
import pytest

from stages.charts import base, predictions as prediction_charts
from tests.charts.support import saved_size

PIXELS = np.zeros((4, 8, 8, 3), np.uint8)
SIZES = np.array([[40, 20], [30, 30], [20, 60], [8, 8]])
TABLE = pd.DataFrame(
    {
        "path": ["cat/1.png", "$dog$ _x/a/very/deep/folder/below/2.png", "$dog$ _x/3.png", "emu/4.png"],
        "actual": ["cat", "$dog$ _x", "$dog$ _x", "emu"],
        "predicted": ["cat", "cat", "$dog$ _x", "cat"],
        "probability": [0.91, 0.6, 0.7, 0.8],
    }
)


def titles(figure):
    return [axes.get_title() for axes in figure.findobj(lambda x: hasattr(x, "get_title")) if axes.get_title()]


def ratios(figure):
    """Width by height of each image, as saved."""
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.images]
    return [box.width / box.height for box in boxes]


def test_predictions_name_the_true_class_of_what_is_wrong(tmp_path):
    figure = prediction_charts.predictions(PIXELS[:2], SIZES[:2], TABLE[:2])
    assert titles(figure) == ["cat 91%\ncorrect", "cat 60%\nwrong, actual: \\$dog\\$ _x"]
    saved_size(figure, tmp_path)


def test_a_sheet_has_a_row_per_class_with_path_label_prediction_and_probability(tmp_path):
    pixels = PIXELS[:2].copy()
    pixels[1] = 200
    figure = prediction_charts.by_class(pixels, SIZES[:2], np.array([1, 3]), TABLE, "Mistakes")
    assert [row.get_suptitle() for row in figure.subfigs] == [
        "Class \\$dog\\$ _x: 1 of 2 wrong",
        "Class emu: 1 of 1 wrong",
    ]
    assert figure.get_suptitle() == "Mistakes, 2 of 3 classes"
    assert titles(figure) == [
        "\\$dog\\$ _x/a/very/d…/2.png\nlabel: \\$dog\\$ _x\n60% cat",
        "emu/4.png\nlabel: emu\n80% cat",
    ]
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert np.array_equal(shown, pixels)
    saved_size(figure, tmp_path)
    assert ratios(figure) == pytest.approx([2, 1], rel=0.01)


def test_a_sheet_without_images_says_so(tmp_path):
    figure = prediction_charts.by_class(PIXELS[:0], SIZES[:0], np.array([], int), TABLE, "Mistakes")
    assert "none among the 4 test images" in figure.texts[1].get_text()
    saved_size(figure, tmp_path)


@pytest.mark.filterwarnings("error")  # matplotlib warns of outlines that do not exist
def test_heat_maps_stand_beside_their_images_with_class_and_outcome(tmp_path):
    heat_maps = np.zeros((4, 8, 8), np.float32)
    heat_maps[:3, 6, 1] = 1
    figure = prediction_charts.gradcam(PIXELS, SIZES, heat_maps, TABLE)
    assert titles(figure)[0] == "91% cat\ncorrect\ncat/1.png"
    assert titles(figure)[3] == "80% cat (no evidence for it)\nwrong, actual: emu\nemu/4.png"
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert np.unravel_index(image.sum(axis=2).argmax(), (8, 16)) == (6, 8 + 1)
    assert [len(axes.collections) for axes in figure.axes if axes.images] == [1, 1, 1, 0]
    saved_size(figure, tmp_path)
    assert ratios(figure) == pytest.approx([4, 2, 2 / 3, 2], rel=0.01)  # of two images each


def test_a_heat_map_of_one_value_is_drawn(tmp_path):
    saved_size(prediction_charts.gradcam(PIXELS[:1], SIZES[:1], np.ones((1, 8, 8), np.float32), TABLE[:1]), tmp_path)


def test_titles_of_wrong_predictions_are_red():
    figure = prediction_charts.by_class(PIXELS, SIZES, np.arange(4), TABLE, "All")
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    assert {title.get_text().split("\n")[0] for title in titles if title.get_color() == base.WRONG} == {
        "\\$dog\\$ _x/a/very/d…/2.png",
        "emu/4.png",
    }
