import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.charts import base
from tests.charts.support import contrast, saved_size

GROUNDS = (("#ffffff", "#f4f6f8"), ("#14171a", "#1e2327"))  # of light and of dark pages


def test_a_matplotlibrc_of_the_users_changes_no_chart_and_is_not_changed():
    matplotlib.rcParams["lines.linewidth"] = 9
    matplotlib.rcParams["font.family"] = ["monospace"]
    with base.style():
        assert matplotlib.rcParams["lines.linewidth"] == matplotlib.rcParamsDefault["lines.linewidth"]
        assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"
    assert matplotlib.rcParams["lines.linewidth"] == 9 and matplotlib.rcParams["font.family"] == ["monospace"]


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
def test_a_text_that_is_too_long_loses_its_middle_and_a_path_keeps_its_end(text, short):
    assert base.plain(text, 18 if "/" not in text else 19) == short


@pytest.mark.parametrize(
    ("titles", "lines"), [(["\U00013000", "\U00013001"], 1), (["кошка", "αλεπού"], 0)], ids=["no font", "a font"]
)
def test_letters_that_no_font_has_are_reported_in_one_line(tmp_path, capsys, titles, lines):
    saved_size(base.grid(np.zeros((2, 8, 8, 3), np.uint8), titles, "heading"), tmp_path)
    assert capsys.readouterr().err.count("\n") == lines


def test_a_figure_is_saved_at_its_size_with_the_same_bytes_each_time(tmp_path):
    figure = base.grid(np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], "heading")
    expected = figure.get_size_inches() * base.DPI
    assert saved_size(figure, tmp_path) == tuple(expected.astype(int))
    first = (tmp_path / "chart.png").read_bytes()
    saved_size(base.grid(np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], "heading"), tmp_path)
    assert (tmp_path / "chart.png").read_bytes() == first


def some_chart():
    figure, axes = base.panel()
    axes.plot([0, 1], [0, 1], "o--", color=base.LIGHT["frozen"], label="<a> & \U0003fffd")
    axes.add_patch(Rectangle((0, 0), 1, 1, color=base.LIGHT["finetuned"], alpha=0.5))
    axes.set(xlabel="Épo que", ylabel="y")
    axes.grid()
    axes.legend()
    return figure


def test_an_svg_has_text_and_the_colours_of_the_page_and_is_the_same_each_time(recwarn):
    text = base.svg(some_chart(), "first")
    assert text == base.svg(some_chart(), "first")
    assert text.startswith("<svg") and text.endswith("</svg>\n") and "<style" not in text
    assert ">Épo que</text>" in text and "&lt;a&gt; &amp; \U0003fffd</text>" in text and "font-family" not in text
    assert set(re.findall(r"var\(--([^)]*)\)", text)) == {"frozen", "finetuned", "ink", "soft", "line"}
    assert not re.findall(r"(?:fill|stroke): (?!none|var\(--)", text) and not re.findall(r"#[0-9a-f]{6}\b", text)
    texts = re.findall(r"<text [^>]*>", text)
    assert texts and all("fill: var(--ink)" in element for element in texts)
    assert not recwarn.list  # a browser has more fonts than matplotlib
    assert 'viewBox="0 0 360 270"' in text and not re.search(r"<svg[^>]* (width|height)=", text)


def test_the_ids_of_two_svgs_of_a_page_differ():
    both = [base.svg(some_chart(), prefix) for prefix in ("first", "second")]
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in both]
    assert ids[0] and ids[0].isdisjoint(ids[1])
    for text, known in zip(both, ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= known


def test_text_of_a_panel_has_at_least_9_pixels_on_a_phone():
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", base.svg(some_chart(), ""))]
    assert min(sizes) * 320 / (72 * base.PANEL[0]) >= 9


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_the_page(page):
    for name, colours in base.CSS.items():
        least = {"ground": 1, "line": 1, "ink": 4.5, "soft": 4.5, "wrong": 4.5}.get(name, 3)
        assert min(contrast(colours[page], ground) for ground in GROUNDS[page]) >= least, name


def test_thirty_five_classes_look_different_and_none_as_a_model():
    looks = [tuple(base.class_style(label).values()) for label in range(35)]
    assert len(set(looks)) == 35
    for first, second in itertools.pairwise(looks):
        assert first[0] != second[0] and first[1] != second[1]  # neighbours in both
    assert {colour for colour, _ in looks}.isdisjoint({base.LIGHT["frozen"], base.LIGHT["finetuned"]})


@pytest.mark.parametrize(("size", "shape"), [((300, 100), (11, 32)), ((20, 80), (32, 8)), ((7, 7), (32, 32))])
def test_a_square_image_gets_the_aspect_ratio_of_its_file(size, shape):
    pixels = np.zeros((48, 48, 3), np.uint8)
    pixels[:, 24:] = 200  # black left, grey right
    image = base.restore_aspect(pixels, size, 32)
    assert image.shape == (*shape, 3) and image.dtype == np.uint8
    assert (image[:, 0] == 0).all() and (image[:, -1] == 200).all()


def test_a_grid_shows_images_in_the_aspect_ratio_of_their_files(tmp_path):
    figure = base.grid(np.zeros((2, 8, 8, 3), np.uint8), ["", ""], "", sizes=np.array([[40, 20], [30, 90]]))
    saved_size(figure, tmp_path)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert [box.width / box.height for box in boxes] == pytest.approx([2, 1 / 3], rel=0.01)


@pytest.mark.parametrize(("count", "width"), [(1, 16), (16, 16), (25, 8), (60, 8)])
def test_a_grid_is_no_wider_than_a_page_holds(count, width):
    figure = base.grid(np.zeros((count, 8, width, 3), np.uint8), [""] * count, "heading")
    assert figure.get_size_inches()[0] <= base.WIDTH + 1e-9


def test_letters_that_no_font_has_are_reported_once(tmp_path, capsys):
    base.report_missing_fonts.cache_clear()
    for name in ("1.png", "2.png"):
        figure = Figure()
        figure.text(0.5, 0.5, "\U00012000")  # a cuneiform sign
        base.save(figure, tmp_path / name)
    assert capsys.readouterr().err.count("Some letters are drawn as boxes") == 1
