"""Output for people: texts and tables of at most 100 columns, in colour on a terminal, plain in a file or a pipe."""

import shutil
import sys
import textwrap

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.common import cli

WIDTH = 100  # columns
GAP = 2  # columns between those of a table
NARROWEST = 8  # to which a column of texts is cut


def console() -> Console:
    """Returns rich's console for standard output as it now is; NO_COLOR and TERM=dumb count."""
    terminal = sys.stdout.isatty()
    columns = min(shutil.get_terminal_size().columns, WIDTH) if terminal else WIDTH
    # Names and paths are the user's: nothing in them is markup, an emoji or a number to highlight.
    return Console(force_terminal=terminal, width=columns, markup=False, emoji=False, highlight=False)


def show(*parts: str | Text | Table) -> None:
    """Prints parts below each other: strings as paragraphs, others as they are, however long their lines."""
    out = console()
    for part in parts:
        out.print(paragraph(part) if isinstance(part, str) else part, soft_wrap=True)
    sys.stdout.flush()


def paragraph(text: str, style: str = "", indent: str = "") -> Text:
    """Returns a text with lines of at most WIDTH columns; those below the first are as far to the right as `indent`."""
    wrapper = textwrap.TextWrapper(
        console().width, indent, " " * len(indent), break_long_words=False, break_on_hyphens=False
    )
    return Text("\n".join(map(wrapper.fill, text.split("\n"))), style)


def table(frame: pd.DataFrame, number: str = "{:.4f}") -> Table:
    """Returns a table of a DataFrame without its index, in which texts and names are cut where there is no room.

    Args:
        frame: of texts and numbers; None and NaN leave a cell empty.
        number: how floats are formatted.
    """
    frame = frame.rename(columns=lambda name: cli.printable(str(name)))
    numeric = {name: pd.api.types.is_numeric_dtype(column) for name, column in frame.items()}
    cells = frame.astype(object).map(lambda value: _cell(value, number))
    widths = {name: max(map(cell_len, [name, *column])) for name, column in cells.items()}
    least = {name: max(map(cell_len, cells[name]), default=0) if numeric[name] else NARROWEST for name in widths}
    room = console().width - GAP * (len(widths) - 1)
    while sum(widths.values()) > room:
        widest = max(widths, key=lambda name: (widths[name] > least[name], widths[name]))
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
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
