import matplotlib
import numpy as np
import pytest

from stages.charts import base
from tests.charts.support import saved_size


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
    ("titles", "lines"), [(["\U0003fffd", "\U0003fffc"], 1), (["кошка", "αλεπού"], 0)], ids=["no font", "a font"]
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
