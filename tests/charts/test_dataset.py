import numpy as np
import pytest

from stages.charts import base, dataset as dataset_charts
from tests.charts.support import saved_size


def test_a_contact_sheet_shows_every_image_in_its_place_and_aspect_ratio(tmp_path):
    thumbnails = np.zeros((3, 2, 8, 8, 3), np.uint8)
    thumbnails[1, 1] = (255, 0, 0)
    sizes = np.zeros((3, 2, 2), int)
    sizes[1, 1] = (40, 20)
    figure = dataset_charts.contact_sheet(thumbnails, sizes, ["a", "b", "c"], "heading")
    [axes] = figure.axes
    sheet = np.asarray(axes.images[0].get_array())
    assert (sheet[14:18, 12:20] == (255, 0, 0)).all()
    sheet[14:18, 12:20] = 255
    assert (sheet == 255).all()  # nothing where there is no image
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    saved_size(figure, tmp_path)


def test_a_contact_sheet_of_two_hundred_classes_has_a_pixel_for_each_of_the_images():
    thumbnails, sizes = np.zeros((200, 8, 64, 64, 3), np.uint8), np.ones((200, 8, 2), int)
    figure = dataset_charts.contact_sheet(thumbnails, sizes, [f"class {number}" for number in range(200)], "heading")
    width, height = figure.get_size_inches() * base.DPI
    assert 8 * 64 < width and 200 * 64 < height
    assert max(width, height) < 2**16  # the most that matplotlib draws


def test_the_sizes_of_a_few_classes_are_all_named(tmp_path):
    figure = dataset_charts.sizes(np.array([[30, 20], [40, 50], [60, 70]]), np.array([0, 1, 1]), ["a", "$b$"])
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (1)", "\\$b\\$ (2)"]
    assert axes.collections[1].get_offsets().tolist() == [[40, 50], [60, 70]]
    saved_size(figure, tmp_path)


@pytest.mark.parametrize("name", ["_background_noise_", "__", "_nolegend_", "_child0"])
def test_a_class_whose_name_starts_with_an_underscore_is_named(name):
    [axes] = dataset_charts.sizes(np.array([[30, 20], [40, 50]]), np.array([0, 1]), [name, "yes"]).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"{name} (1)", "yes (1)"]


def test_of_two_hundred_classes_ten_are_named_beside_their_sizes(tmp_path):
    classes = [f"class {number}" for number in range(200)]
    figure = dataset_charts.sizes(np.arange(800).reshape(400, 2) + 1, np.arange(400) % 200, classes)
    [axes] = figure.axes
    assert len(axes.collections) == 200 and len(axes.get_legend().get_texts()) == 10
    assert axes.get_legend().get_title().get_text() == "the first 10 of 200 classes"
    saved_size(figure, tmp_path)


def test_images_of_nearly_one_size_share_a_point():
    sizes = np.array([[4000, 3000], [4001, 3001], [1000, 500]])
    [axes] = dataset_charts.sizes(sizes, np.zeros(3, int), ["a"]).axes
    assert np.asarray(axes.collections[0].get_offsets()) == pytest.approx(sizes[[2, 0]], abs=20)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (3)"]


def test_images_of_one_size_are_one_point_of_each_class(tmp_path):
    figure = dataset_charts.sizes(np.full((3, 2), 96), np.array([0, 1, 1]), ["_a", "b"])
    [axes] = figure.axes
    assert [points.get_offsets().tolist() for points in axes.collections] == [[[96, 96]], [[96, 96]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["_a (1)", "b (2)"]
    saved_size(figure, tmp_path)


@pytest.mark.parametrize("doubled", [None, {"size": 160, "accuracy": 0.95, "interval": [0.93, 0.96]}])
def test_a_learning_curve_has_intervals_and_the_extrapolation_apart(tmp_path, doubled):
    curve = {"sizes": [20, 80], "accuracy": [0.5, 0.9], "intervals": [[0.4, 0.7], [0.85, 0.92]], "doubled": doubled}
    figure = dataset_charts.learning_curve(curve)
    [axes] = figure.axes
    measured, *extrapolated = axes.containers
    assert measured.lines[0].get_xydata().tolist() == [[20, 0.5], [80, 0.9]]
    intervals = [segment[:, 1].tolist() for segment in measured.lines[2][0].get_segments()]
    assert intervals == [pytest.approx([0.4, 0.7]), pytest.approx([0.85, 0.92])]
    assert [container.lines[0].get_xydata().tolist() for container in extrapolated] == [[[160, 0.95]]] * bool(doubled)
    saved_size(figure, tmp_path)
