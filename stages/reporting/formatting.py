"""Formatting of numbers for readers, with few digits, and the templates, whose filters these functions are."""

import base64
import hashlib
import json
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stages.common import cli

# Beginnings of @someone, #1, GH-1, https://, :smile: and www.example.com, as a regular expression.
LINKED = r"@(?=\w)|#(?=\d+\b)|\bGH(?=-)|:(?=[/\w+-])|www(?=\.)"


def number(value: float) -> str:
    """Formats with three decimals, such as 0.975, or two significant digits below 0.01, such as 0.0012."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:z.3f}"
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def pair(first: float, second: float) -> list[str]:
    """Formats two numbers as `number` does, with as many more decimals as it takes to tell them apart."""
    texts, decimals = [number(first), number(second)], 3
    while texts[0] == texts[1] and first != second:
        decimals += 1
        texts = [f"{value:z.{decimals}f}" for value in (first, second)]
    return texts


def interval(bounds: Sequence[float]) -> str:
    """Formats two bounds, such as "0.93 to 0.99"; as in `number` where they are close together or small."""
    low, high = bounds
    if high - low >= 0.05 or low == high == 1:
        return f"{low:z.2f} to {high:z.2f}"
    return f"{number(low)} to {number(high)}"


def percent(fraction: float) -> str:
    """Formats a fraction as a percentage, such as 97.5% or 3%; never as 0% or 100% unless it is 0 or 1."""
    if 0 < fraction < 0.0005:
        return "<0.1%"
    if 0.9995 <= fraction < 1:
        return ">99.9%"
    return f"{fraction:z.1%}".replace(".0%", "%")


def percent_interval(bounds: Sequence[float]) -> str:
    """Formats the bounds of a fraction as percentages, such as "93.1% to 98.9%"."""
    return " to ".join(map(percent, bounds))


def points(difference: float) -> str:
    """Formats a difference of two fractions in percentage points, such as "1.2"."""
    return f"{100 * difference:z.1f}"


def setting(value: Any) -> str:
    """Formats a parameter's value as params.yaml has it, such as 0.00002."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "none"
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


def rows(table: pd.DataFrame, most: int | None = None) -> list[dict[Hashable, Any]]:
    """Returns the first rows of a table as dicts."""
    return table[:most].to_dict("records")


def markdown(text: str) -> str:
    """Escapes a class name or path for Markdown: markup, table borders and HTML in it stay text.

    So do mentions, references, addresses and emojis, which hubs look for in the text without its backslashes.
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", cli.inert(text, LINKED))


def as_json(value: Any) -> str:
    """Returns JSON for a <script> element: ASCII, in which no name ends the element or opens a comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def template(name: str, **options: Any) -> Template:
    """Opens a template of this folder, with these options of jinja2.Environment."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, **options)
    functions = (
        number,
        interval,
        percent,
        percent_interval,
        points,
        setting,
        rows,
        markdown,
        cli.printable,
        cli.counted_bytes,
    )
    environment.filters |= {function.__name__: function for function in functions} | {"count": "{:,}".format}
    return environment.get_template(name)


def script(name: str) -> tuple[str, str]:
    """Returns a script of this folder, and its SHA-256 in Base64, by which a Content-Security-Policy allows it."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
