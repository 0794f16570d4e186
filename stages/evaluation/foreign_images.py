"""Foreign images: kinds that hardly any user's classes include, made of what the installed packages bring.

They show how many images of other kinds novelty detection flags; no image of the user's is among them. Each call gives
the same bytes, on any machine.
"""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COUNT = 30  # number of images of each kind
SCALE = 2  # charts are drawn this much larger, and reduced, so that their edges are smooth
SMALLEST = 0.25  # minimum side of a cut-out, as a fraction of the shorter side of its photograph
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")
WORDS = (
    "the order of goods that we sent in May has come back since no one was at home to take it please call the office "
    "or write to us so that a new date can be found Terms of delivery Yours faithfully Total amount due Page"
).split()


def make(size: int) -> dict[str, np.ndarray]:
    """Returns images by the name of their kind, in the plural; uint8 [COUNT, size, size, 3] each."""
    kinds: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
        "cut-outs of a photograph of a temple": _cut_outs("sklearn", "datasets/images/china.jpg"),
        "cut-outs of a portrait": _cut_outs("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        "charts and pages of text": _drawing,
        "plain colours and patterns": _pattern,
    }
    images = {}
    for seed, (kind, make_one) in enumerate(kinds.items()):
        rng = np.random.default_rng(seed)
        images[kind] = np.stack([np.asarray(make_one(rng, size)) for _ in range(COUNT)])
    return images


def _file(package: str, path: str) -> Path:
    """Returns the path of a file that an installed package brings, without importing the package."""
    return Path(str(importlib.util.find_spec(package).origin)).parent / path  # type: ignore[union-attr]


def _cut_outs(package: str, path: str) -> Callable[[np.random.Generator, int], Image.Image]:
    """Returns a function that cuts a square out of a photograph at random."""
    photograph = Image.open(_file(package, path), formats=["JPEG"]).convert("RGB")

    def cut_out(rng: np.random.Generator, size: int) -> Image.Image:
        side = rng.uniform(SMALLEST, 1) * min(photograph.size)
        left, top = (rng.uniform(0, whole - side) for whole in photograph.size)
        box = (left, top, left + side, top + side)
        return photograph.resize((size, size), Image.Resampling.BILINEAR, box=box)

    return cut_out


def _drawing(rng: np.random.Generator, size: int) -> Image.Image:
    """Draws a chart or a page of text."""
    return (_chart if rng.random() < 0.5 else _text)(rng, size)


def _chart(rng: np.random.Generator, size: int) -> Image.Image:
    """Draws axes, with bars, lines or points."""
    side = SCALE * size
    image = Image.new("RGB", (side, side), "white")
    draw, left, bottom = ImageDraw.Draw(image), 0.1 * side, 0.9 * side
    width, height, thick = 0.85 * side, 0.8 * side, max(1, side // 100)
    colours = [tuple(map(int, colour)) for colour in rng.integers(0, 200, (3, 3))]
    for level in np.linspace(0.2, 1, 5):
        draw.line([(left, bottom - level * height), (left + width, bottom - level * height)], "#dddddd", 1)
    kind, count = rng.integers(3), int(rng.integers(4, 12))
    for colour in colours[: 1 if kind == 0 else 3]:
        heights = bottom - height * rng.uniform(0.05, 1, count)
        places = left + width * (np.arange(count) + 0.5) / count
        half = 0.35 * width / count
        if kind == 0:
            for x, y in zip(places, heights, strict=True):
                draw.rectangle([x - half, y, x + half, bottom], colour)
        elif kind == 1:
            draw.line([*zip(places, heights, strict=True)], colour, 2 * thick)
        else:
            for x, y in zip(places, heights, strict=True):
                draw.ellipse([x - 3 * thick, y - 3 * thick, x + 3 * thick, y + 3 * thick], colour)
    draw.line([(left, bottom - height), (left, bottom), (left + width, bottom)], "black", thick)
    return image.resize((size, size), Image.Resampling.BOX)


def _text(rng: np.random.Generator, size: int) -> Image.Image:
    """Draws lines of words on light paper."""
    paper, ink = (tuple(map(int, rng.integers(*ends, 3))) for ends in ((225, 256), (0, 60)))
    image = Image.new("RGB", (size, size), paper)
    draw, height = ImageDraw.Draw(image), size / rng.uniform(8, 24)
    path = _file("matplotlib", f"mpl-data/fonts/ttf/{FONTS[rng.integers(len(FONTS))]}.ttf")
    font = ImageFont.truetype(path, height, layout_engine=ImageFont.Layout.BASIC)  # the other one may be missing
    for top in np.arange(height, size - height, 1.4 * height):
        line = " ".join(WORDS[number] for number in rng.integers(len(WORDS), size=12))
        draw.text((height, top), line, ink, font)
    return image


def _pattern(rng: np.random.Generator, size: int) -> Image.Image:
    """Returns a plain colour, a grating of two colours, or noise."""
    first, second = rng.integers(0, 256, (2, 1, 1, 3))
    kind = rng.integers(3)
    if kind == 0:
        weight = np.zeros((size, size, 1))
    elif kind == 1:
        angle, waves = rng.uniform(0, math.pi), rng.uniform(2, 24)
        y, x = np.mgrid[:size, :size] / size
        weight = (np.sin(2 * math.pi * waves * (x * math.cos(angle) + y * math.sin(angle))) > 0)[..., np.newaxis]
    else:
        weight = rng.random((size, size, int(rng.choice([1, 3]))))
    return Image.fromarray((first + weight * (second - first)).astype(np.uint8))
