"""Numbers as people read them: no more digits than they are good for."""

import numpy as np

from stages.common import cli


def number(value):
    """Three decimals, such as 0.975, or two significant digits below 0.01, such as 0.0012."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3f}"
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def interval(bounds):
    """Two bounds, such as "0.93 to 0.99"; as in `number` where they are close together or small."""
    low, high = bounds
    if high - low >= 0.05 or low == high == 1:
        return f"{low:.2f} to {high:.2f}"
    return f"{number(low)} to {number(high)}"


def percent(share):
    """A share as a percentage, such as 97.5% or 3%; it says so where rounding would make it none or all."""
    if 0 < share < 0.0005:
        return "below 0.1%"
    if 0.9995 <= share < 1:
        return "above 99.9%"
    return f"{share:.1%}".replace(".0%", "%")


def setting(value):
    """A parameter's value as params.yaml has it, such as 0.00002."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(item)}" for key, item in value.items()) or "none"
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


FILTERS = {
    "count": "{:,}".format,
    "number": number,
    "interval": interval,
    "percent": percent,
    "setting": setting,
    "printable": cli.printable,
}  # of both templates
