import io

import numpy as np
import pandas as pd
import pytest
from rich.text import Text

from stages.common import terminal


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """A function that shows parts on a terminal of 60 columns that has colours, and returns what arrives there."""

    def show(*parts, **environment):
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "60", **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdout", output := FakeTerminal())
        terminal.show(*parts)
        return output.getvalue()

    return show


def lines_of(capsys):
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_is_aligned_and_plain_where_there_is_no_terminal(capsys):
    frame = pd.DataFrame({"class": ["ant", "bee"], "images": [5, 1000], "f1": [0.5, np.nan]})
    terminal.show("Two classes", terminal.table(frame))
    assert lines_of(capsys) == ["Two classes", "class  images      f1", "ant         5  0.5000", "bee      1000"]


@pytest.mark.parametrize("value", [-0.0, -1e-9, -0.00004])
def test_no_number_is_a_negative_zero(capsys, value):
    terminal.show(terminal.table(pd.DataFrame({"change": [value, -0.1]})))
    assert [line.strip() for line in lines_of(capsys)] == ["change", "0.0000", "-0.1000"]


def test_names_are_shown_as_they_are_but_for_control_characters(capsys):
    names = ["[red]x[/red]", ":smile:", "a\x1b[31mb", "\udcff"]
    terminal.show(terminal.table(pd.DataFrame({"[bold]": names})))
    assert lines_of(capsys) == ["[bold]", "[red]x[/red]", ":smile:", r"'a\x1b[31mb'", r"'\udcff'"]


@pytest.mark.parametrize("name", ["a\x1b[31mred", "a\u202eleft", "zero\u200bwidth", "\x9b31mred"])
def test_nothing_in_a_text_is_obeyed_or_hidden(capsys, name):
    terminal.show(f"about {name}", Text(f"about {name}"), terminal.paragraph(f"about {name}"))
    assert lines_of(capsys) == [f"about {repr(name)[1:-1]}"] * 3


def test_long_texts_are_cut_and_numbers_are_not(capsys):
    frame = pd.DataFrame({"class": ["x" * 300], "a parameter of a long name " * 3: [0.25], "count": [123456789]})
    terminal.show(terminal.table(frame), "word " * 50)
    lines = lines_of(capsys)
    assert max(map(len, lines)) == terminal.WIDTH
    assert "0.2500" in lines[1] and lines[1].endswith("123456789") and "x…" in lines[1]
    assert " ".join(lines[2:]).split() == ["word"] * 50


@pytest.mark.parametrize("length", [20, 120, 400])
def test_paths_are_whole_and_last_so_that_they_can_be_copied(capsys, on_terminal, length):
    path = "a" * (length - 4) + ".jpg"
    frame = pd.DataFrame({"path": [path, "b.jpg"], "class": ["x" * 60, "y"], "count": [1, 123456789]})
    terminal.show(terminal.table(frame))
    header, first, second = lines_of(capsys)
    assert header.endswith("path") and first.endswith(f" {path}") and second.endswith("123456789  b.jpg")
    assert path in on_terminal(terminal.table(frame))  # of 60 columns


def test_a_table_without_rows_has_its_header(capsys):
    terminal.show(terminal.table(pd.DataFrame({"path": [], "quality": []})))
    assert lines_of(capsys)[0].split() == ["quality", "path"]


def test_a_terminal_has_its_width_and_colours_unless_it_does_not_want_them(on_terminal):
    parts = ["word " * 20, Text("command " * 20, "cyan")]
    shown = on_terminal(*parts)
    assert "\x1b[36m" in shown
    paragraph, command = shown.split("\x1b[36m")
    assert max(map(len, paragraph.splitlines())) <= 60
    assert "command " * 20 in command  # to be copied
    assert "\x1b" not in on_terminal(*parts, NO_COLOR="1")
    assert "\x1b" not in on_terminal(*parts, TERM="dumb")


def test_lines_below_the_first_are_indented_as_far(capsys):
    terminal.show(terminal.paragraph("word " * 50, indent="  1. "))
    first, *others = lines_of(capsys)
    assert first.startswith("  1. word") and others and all(line.startswith("     word") for line in others)
