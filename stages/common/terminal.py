"""Texts and tables for the terminal: at most 100 columns, in colour on a terminal, plain in a file or a pipe."""

import shutil
import sys
import textwrap

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.common import cli

WIDTH = 100  # maximum width of the output in characters
GAP = 2  # characters between two columns of a table
UNBROKEN = 10_000  # characters: more than any line of a table, which rich would otherwise narrow
NARROWEST = 8  # minimum width in characters of a column of texts that is cut


def console() -> Console:
    """Returns rich's console for the present standard output, which respects NO_COLOR and TERM=dumb."""
    terminal = sys.stdout.isatty()
    columns = min(shutil.get_terminal_size().columns, WIDTH) if terminal else WIDTH
    # Names and paths of the user are shown as they are: without markup, emojis or highlighted numbers.
    return Console(force_terminal=terminal, width=columns, markup=False, emoji=False, highlight=False)


def show(*parts: str | Text | Table) -> None:
    """Prints parts below each other: strings as paragraphs, other parts with their lines unbroken.

    Control characters of texts are escaped, because names and what libraries say about files may stand in them.
    """
    out = console()
    for part in parts:
        shown = paragraph(part) if isinstance(part, str) else part
        if isinstance(shown, Text):
            shown.plain = cli.escaped(shown.plain)
        out.width = UNBROKEN if isinstance(shown, Table) else console().width
        out.print(shown, soft_wrap=True)
    sys.stdout.flush()


def paragraph(text: str, style: str = "", indent: str = "") -> Text:
    """Wraps a text at the console's width. `indent` precedes the first line; blanks precede the others."""
    width, hanging = console().width, " " * len(indent)
    wrapper = textwrap.TextWrapper(width, indent, hanging, break_long_words=False, break_on_hyphens=False)
    return Text("\n".join(map(wrapper.fill, text.split("\n"))), style)


def table(frame: pd.DataFrame, number: str = "{:z.4f}") -> Table:
    """Returns a table of a DataFrame without its index; `number` is the format of floats.

    None and NaN leave a cell empty. Texts and names of columns are cut if there is no room; not those of a column path,
    which stands last, because people copy paths.
    """
    frame = frame[[*frame.columns.drop("path"), "path"]] if "path" in frame else frame
    frame = frame.rename(columns=lambda name: cli.printable(str(name)))
    numeric = {name: pd.api.types.is_numeric_dtype(column) for name, column in frame.items()}
    cells = frame.astype(object).map(lambda value: _cell(value, number))
    widths = {name: max(map(cell_len, [name, *column])) for name, column in cells.items()}
    whole = {name: numeric[name] or name == "path" for name in widths}
    least = {name: max(map(cell_len, cells[name]), default=0) if whole[name] else NARROWEST for name in widths}
    room = console().width - GAP * (len(widths) - 1)
    while sum(widths.values()) > room and (wide := [name for name in widths if widths[name] > least[name]]):
        widths[max(wide, key=lambda name: widths[name])] -= 1
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name, width in widths.items():
        grid.add_column(name, justify="right" if numeric[name] else "left", width=width, no_wrap=True)
    for row in cells.itertuples(index=False):
        grid.add_row(*row)
    return grid


def _cell(value: object, number: str) -> str:
    if pd.isna(value):
        return ""
    return number.format(value) if isinstance(value, float) else cli.printable(str(value))
