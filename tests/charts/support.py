"""What the tests of charts share."""

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from stages.charts import base


def saved_size(figure, tmp_path):
    """Saves a figure and returns its width and height in pixels."""
    base.save(figure, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        image.load()
        return image.size


def contrast(first, second):
    """The contrast of two colours as WCAG 2.2 defines it."""
    lights = []
    for colour in (first, second):
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
        lights.append(np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)
