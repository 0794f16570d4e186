"""Made-up tables and images for the page on which people check labels."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.common.dataset import SPLITS
from stages.review import TABLES
from tests.reporting.support import write

IMAGES = "data/mine"


def picture(seed, size=(60, 40)):
    """A smooth image of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def write_images(counts, size=(60, 40), root=IMAGES):
    """Writes images, {"class": how many}, and returns their table: path, class, sha256, split, in turn."""
    rows = []
    for name, count in counts.items():
        for number in range(count):
            path = Path(root, name, f"{number:03}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(len(rows), size).save(path)
            rows.append((f"{name}/{number:03}.jpg", name, file_hash(path), SPLITS[len(rows) % 3]))
    return pd.DataFrame(rows, columns=["path", "class", "sha256", "split"])


def file_hash(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def table(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


def labels(*rows):
    """What audit writes, from rows of path, split, given, suggested."""
    return pd.DataFrame(
        [(*row, 0.1, 0.12, 0.78, "", "") for row in rows],
        columns="path split given suggested quality given_probability suggested_probability label note".split(),
    )


def mistakes(*rows):
    """What evaluate writes, from rows of split, path, actual, predicted, probability."""
    return table("split path actual predicted probability", *rows)


def near_duplicates(*rows):
    """What split writes, from rows of duplicates, path, class, split, classes_mix, splits_mix."""
    return table("duplicates path class split classes_mix splits_mix", *rows)


def unreadable(*rows):
    return table("path reason", *rows)


def corrected(*rows):
    return table("path sha256 split decision given label note", *rows)


EMPTY = {
    "labels": labels(),
    "mistakes": mistakes(),
    "near_duplicates": near_duplicates(),
    "unreadable": unreadable(),
    "corrected": corrected(),
}


def write_tables(images, **tables):
    """Writes what the stage review reads of other stages."""
    outputs = {path: tables.get(name, EMPTY[name]) for name, path in TABLES.items()}
    manifests = {
        f"data/splits/{name}/manifest.csv": images[images["split"] == name].drop(columns="split") for name in SPLITS
    }
    classes = sorted(images["class"].unique())
    write({"data/splits/classes.json": classes, **manifests, **outputs})
    if not Path("data/corrections.csv").exists():
        write_corrections("data/corrections.csv")


def write_corrections(path, *rows):
    """Writes a table of corrections, from rows of path, sha256, decision, label, note."""
    write({path: table("path sha256 decision label note", *rows)})
