import numpy as np

from stages.charts import base, dataset as dataset_charts
from tests.charts.support import saved_size


def test_a_contact_sheet_shows_every_image_in_its_place(tmp_path):
    thumbnails = np.full((3, 2, 8, 8, 3), 255, np.uint8)
    thumbnails[1, 1] = (255, 0, 0)
    figure = dataset_charts.contact_sheet(thumbnails, ["a", "b", "c"], "heading")
    [axes] = figure.axes
    sheet = np.asarray(axes.images[0].get_array())
    assert (sheet[12:20, 12:20] == (255, 0, 0)).all() and (sheet[:12] == 255).all() and (sheet[:, :12] == 255).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    saved_size(figure, tmp_path)


def test_a_contact_sheet_of_two_hundred_classes_has_a_pixel_for_each_of_the_images():
    thumbnails = np.zeros((200, 8, 64, 64, 3), np.uint8)
    figure = dataset_charts.contact_sheet(thumbnails, [f"class {number}" for number in range(200)], "heading")
    width, height = figure.get_size_inches() * base.DPI
    assert 8 * 64 < width and 200 * 64 < height
    assert max(width, height) < 2**16  # the most that matplotlib draws


def test_the_sizes_of_a_few_classes_are_all_named(tmp_path):
    figure = dataset_charts.sizes(np.array([[30, 20], [40, 50], [60, 70]]), np.array([0, 1, 1]), ["a", "$b$"])
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (1)", "\\$b\\$ (2)"]
    assert axes.collections[1].get_offsets().tolist() == [[40, 50], [60, 70]]
    saved_size(figure, tmp_path)


def test_of_two_hundred_classes_ten_are_named_beside_their_sizes(tmp_path):
    classes = [f"class {number}" for number in range(200)]
    figure = dataset_charts.sizes(np.full((400, 2), 30), np.arange(400) % 200, classes)
    [axes] = figure.axes
    assert len(axes.collections) == 200 and len(axes.get_legend().get_texts()) == 10
    assert axes.get_legend().get_title().get_text() == "the first 10 of 200 classes"
    saved_size(figure, tmp_path)
