"""What the tests of charts share."""

from PIL import Image

from stages.charts import base


def saved_size(figure, tmp_path):
    """Saves a figure and returns its width and height in pixels."""
    base.save(figure, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        image.load()
        return image.size
