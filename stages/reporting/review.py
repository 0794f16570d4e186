"""The page on which people check labels: which images it shows, why, in which order, and how it is written.

An image stands once, with all reasons. Near-duplicates stand side by side. The most urgent come first: in the order of
REASONS, then in that of the tables.
"""

import base64
import hashlib
import io
import string
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages.charts import base
from stages.common.cli import printable
from stages.common.dataset import SPLITS
from stages.decoding import decode
from stages.labels.corrections import COLUMNS, Correction
from stages.reporting import formatting

REASONS = {  # why an image is on the page: names that its filter shows, the most urgent first
    "mixed": "Near-duplicates with different labels",
    "doubtful": "Doubtful labels",
    "mistake": "Mistakes of the model",
    "near_duplicate": "Near-duplicates",
    "unreadable": "Unreadable files",
    "corrected": "Corrected before",
}
MOST_IMAGES = 2000  # maximum number of images on the page
MOST_MISTAKES = 200  # maximum number of mistakes of a split, the most confident ones
# Longer side of an image in pixels, by the maximum number of images: a page of photographs has up to 18 MB.
SIDES = {300: 512, 700: 384, 1500: 256, MOST_IMAGES: 224}
IMAGE_BYTES = 44_000  # maximum size of an image in bytes; as text in a data: URI it takes a third more
QUALITIES = (80, 60, 40, 20)  # of WebP, tried in this order
MOST_SUGGESTIONS = 3  # maximum number of classes that an image suggests
KEYS = 9  # number of digits that stand for classes that are not named by one


@dataclass(frozen=True)
class Tables:
    """What other stages say about images; paths are relative to data.images, with bytes that are no UTF-8 as escapes.

    Attributes:
        images: the images of all splits: path, sha256, class, split.
        labels: doubtful labels, the most doubtful first: path, suggested, given_probability, suggested_probability.
        mistakes: wrong predictions, the most confident of a split first: split, path, predicted, probability.
        near_duplicates: duplicates (the number of a set), path, class, split, classes_mix, splits_mix.
        unreadable: path, reason.
        corrected: corrections that split has applied: path, sha256, decision, given, label.
    """

    images: pd.DataFrame
    labels: pd.DataFrame
    mistakes: pd.DataFrame
    near_duplicates: pd.DataFrame
    unreadable: pd.DataFrame
    corrected: pd.DataFrame


@dataclass(frozen=True)
class Context:
    """What the page says of the project.

    Attributes:
        folder, corrections_path: data.images and data.corrections.
        classes: names of all classes, sorted.
        corrections: those of the project.
    """

    folder: str
    corrections_path: str
    classes: list[str]
    corrections: list[Correction]


@dataclass
class Item:
    """An image of the page.

    Attributes:
        path: relative to data.images.
        label: its class, or what it was before it was dropped; empty if it has none.
        split: its split; empty if it is in none.
        reasons: why it is here, by the keys of REASONS, in words.
        suggestions: other classes that it may have.
        group: number of its set of near-duplicates, or None.
        readable: whether its file can be read.
        urgency: smaller for images that come first.
    """

    path: str
    label: str = ""
    split: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
    suggestions: list[str] = field(default_factory=list)
    group: int | None = None
    readable: bool = True
    urgency: tuple[int, int] = (len(REASONS), 0)

    def add(self, reason: str, text: str, place: int, *suggestions: str) -> None:
        """Adds a reason, in words, with its place in its table, and classes that it suggests."""
        self.reasons[reason] = text
        self.urgency = min(self.urgency, ([*REASONS].index(reason), place))
        for name in suggestions:
            if name not in (self.label, *self.suggestions) and len(self.suggestions) < MOST_SUGGESTIONS:
                self.suggestions.append(name)


@dataclass(frozen=True)
class Shown:
    """An image as the page shows it: hash of the file, and its data: URI with width and height; empty if unreadable."""

    sha256: str
    source: str = ""
    width: int = 0
    height: int = 0


def select(tables: Tables) -> tuple[list[list[Item]], int]:
    """Returns the images of the page, the most urgent first, near-duplicates in one list; and how many are left out."""
    known = tables.images.set_index("path")[["class", "split"]].to_dict("index")
    items: dict[str, Item] = {}

    def item(path: str, label: str = "", split: str = "") -> Item:
        found = known.get(path, {"class": label, "split": split})
        return items.setdefault(path, Item(path, found["class"], found["split"]))

    for place, row in enumerate(tables.labels.to_dict("records")):
        item(row["path"]).add("doubtful", _doubt(row), place, row["suggested"])
    listed = _most_confident(tables.mistakes)
    for place, row in enumerate(listed.to_dict("records")):
        item(row["path"]).add("mistake", _mistake(row), place, row["predicted"])
    for place, (number, group) in enumerate(tables.near_duplicates.groupby("duplicates")):
        reason = "mixed" if group["classes_mix"].any() else "near_duplicate"
        for row in group.to_dict("records"):
            found = item(row["path"], row["class"], "")
            found.group = number
            found.add(reason, _group(group, row), place, *group["class"])
    for place, row in enumerate(tables.unreadable.to_dict("records")):
        found = item(row["path"])
        found.readable = False
        found.add("unreadable", f"This file cannot be read: {printable(row['reason'])}", place)
    for place, row in enumerate(tables.corrected.to_dict("records")):
        found = item(row["path"], row["given"])
        found.add("corrected", _correction(row), place, row["given"])

    units: dict[Any, list[Item]] = defaultdict(list)
    for found in items.values():
        units[found.path if found.group is None else found.group].append(found)
    ordered = sorted(units.values(), key=lambda unit: min((found.urgency, found.path) for found in unit))
    ends = np.cumsum([len(unit) for unit in ordered])
    shown = [sorted(unit, key=lambda found: found.path) for unit in ordered[: int((ends <= MOST_IMAGES).sum())]]
    return shown, len({*items, *tables.mistakes["path"]}) - sum(map(len, shown))


def _most_confident(mistakes: pd.DataFrame) -> pd.DataFrame:
    """Returns the first mistakes of each split, the most confident of all first."""
    return mistakes.groupby("split").head(MOST_MISTAKES).sort_values("probability", ascending=False, kind="stable")


def _doubt(row: Mapping[str, Any]) -> str:
    suggested, given = (formatting.percent(row[f"{name}_probability"]) for name in ("suggested", "given"))
    name = printable(row["suggested"])
    return f"Doubtful: classifiers trained on other images give {name} {suggested}, the label {given}"


def _mistake(row: Mapping[str, Any]) -> str:
    trained = ", although it was trained on this image" if row["split"] == SPLITS[0] else ""
    return f"The model predicts {printable(row['predicted'])} with {formatting.percent(row['probability'])}{trained}"


def _group(group: pd.DataFrame, row: Mapping[str, Any]) -> str:
    """Says what a set of near-duplicates is."""
    mix = [name for name in ("labels", "splits") if row["classes_mix" if name == "labels" else "splits_mix"]]
    return f"One of {len(group)} near-duplicates" + (f" with different {' and '.join(mix)}" if mix else "")


def _correction(row: Mapping[str, Any]) -> str:
    texts = {"drop": "It was dropped", "unsure": "Somebody was unsure"}
    changed = f"The label was changed from {printable(row['given'])}" if row["given"] else "It had no label"
    return texts.get(row["decision"], "The label was confirmed" if row["label"] == row["given"] else changed)


def longer_side(count: int) -> int:
    """Returns the longer side in pixels of each of this number of images."""
    return next(side for most, side in SIDES.items() if count <= most)


def read_image(path: Path, side: int, max_pixels: int, background: str) -> Shown:
    """Decodes an image in its aspect ratio, no larger than it is, as WebP of at most IMAGE_BYTES.

    Raises:
        ValueError: the file cannot be read.
        OSError: it is missing, or the machine is at fault.
    """
    sha256, size, pixels = decode.decode(path, side, max_pixels, background)
    if max(size) < side:
        side = max(size)
        pixels = decode.decode(path, side, max_pixels, background)[2]
    width, height, webp = compress(pixels, size, side)
    return Shown(sha256, f"data:image/webp;base64,{base64.b64encode(webp).decode()}", width, height)


def compress(pixels: np.ndarray, size: Sequence[int], side: int) -> tuple[int, int, bytes]:
    """Returns width, height and WebP of a square image in the aspect ratio of `size`: as good as IMAGE_BYTES allow."""
    while True:
        image = Image.fromarray(base.restore_aspect(pixels, size, side))
        for quality in QUALITIES:
            webp = io.BytesIO()
            image.save(webp, "WEBP", quality=quality)
            if webp.tell() <= IMAGE_BYTES:
                return image.width, image.height, webp.getvalue()
        side //= 2


def render(units: list[list[Item]], shown: Mapping[str, Shown], left_out: int, tables: Tables, p: Context) -> str:
    """Returns the page: the images, and as JSON what its script needs. `shown` has the images by path."""
    items = [item for unit in units for item in unit]
    script, script_hash = formatting.script("review.js")
    return formatting.template("review.html.jinja", autoescape=True).render(
        units=units,
        shown=shown,
        left_out=left_out,
        folder=p.folder,
        corrections_path=p.corrections_path,
        reasons=Counter(reason for item in items for reason in item.reasons),
        digits=digits(p.classes),
        data=formatting.as_json(_data(items, shown, tables, p)),
        script=script,
        script_hash=f"sha256-{script_hash}",
        REASONS=REASONS,
        COLOURS=base.CSS,
    )


def digits(classes: Sequence[str]) -> dict[str, str]:
    """Returns the digits on the keyboard that stand for classes: their names, or else their places if they are few."""
    named = {name: name for name in classes if len(name) == 1 and name in string.digits}
    places = {name: str(place) for place, name in enumerate(classes, 1)} if len(classes) <= KEYS else {}
    return named or places


def _data(items: list[Item], shown: Mapping[str, Shown], tables: Tables, p: Context) -> dict[str, Any]:
    """Returns what the script needs. `hash` names the decisions in the browser's storage: labels do not change it."""
    files = pd.concat([tables.images, tables.corrected])[["path", "sha256"]].drop_duplicates("path")
    lines = sorted(f"{path}\0{sha256}" for path, sha256 in files.to_numpy())
    copies = Counter(files["sha256"])
    return {
        "hash": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "classes": p.classes,
        "digits": {digit: name for name, digit in digits(p.classes).items()},
        "frequent": list(tables.images["class"].value_counts().index[: 2 * KEYS]),
        "corrections": [{name: getattr(row, name) for name in COLUMNS} for row in p.corrections],
        "items": [
            {
                "path": item.path,
                "sha256": shown[item.path].sha256,
                "label": item.label,
                "suggestions": item.suggestions,
                "reasons": [*item.reasons],
                "twin": copies[shown[item.path].sha256] > 1,
            }
            for item in items
        ],
    }
