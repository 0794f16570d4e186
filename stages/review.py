"""Writes the page on which people check labels.

    python -m stages.review

Reads what split, evaluate and audit say about images, data.corrections, and the images themselves in data.images;
writes plots/review.html, one file that needs no server and no network. Its button Save gives a table of corrections
for `python -m stages.tools.relabel`.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import collections
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages.common import cli, files, params, terminal
from stages.common.dataset import CLASSES, ROOT, SPLITS
from stages.labels import corrections
from stages.reporting import review
from stages.reporting.review import Item, Shown, Tables

PAGE = "plots/review.html"
TABLES = {  # beside the manifests
    "labels": "data/audit/labels.csv",
    "mistakes": "data/evaluation/mistakes.csv",
    "near_duplicates": f"{ROOT}/near_duplicates.csv",
    "unreadable": f"{ROOT}/unreadable.csv",
    "corrected": f"{ROOT}/corrections.csv",
}
FLOATS, INTEGERS = "given_probability suggested_probability probability", "duplicates classes_mix splits_mix"
NUMBERS: dict[str, type] = dict.fromkeys(FLOATS.split(), float)
NUMBERS |= dict.fromkeys(INTEGERS.split(), int)


def main() -> None:
    p = params.read("background", "data")
    tables, paths = read_tables()
    decided = corrections.read(p.data.corrections)
    context = review.Context(p.data.images, p.data.corrections, files.read_json(CLASSES), decided)
    units, left_out = review.select(tables)
    shown = read_images([item for unit in units for item in unit], paths, p)
    with files.replacing(page=PAGE) as out:
        out.page.write_text(review.render(units, shown, left_out, tables, context), encoding="utf-8")
        size = cli.counted_bytes(out.page.stat().st_size)
    terminal.show(f"{cli.counted(len(shown), 'image')} to check in {PAGE} ({size}): open it in a browser.")


def read_tables() -> tuple[Tables, dict[str, str]]:
    """Reads the tables of the other stages, and returns them with the path of each image's file by that in the tables.

    Raises:
        UserError: a table is missing or damaged.
    """
    manifests = [read_table(f"{ROOT}/{name}/manifest.csv").assign(split=name) for name in SPLITS]
    tables = {"images": pd.concat(manifests)} | {name: read_table(path) for name, path in TABLES.items()}
    paths: dict[str, str] = {}
    for name, table in tables.items():
        escaped = table["path"].map(lambda path: path.encode(errors="backslashreplace").decode())
        for path, raw in zip(escaped, table["path"], strict=True):
            paths.setdefault(path, raw)  # the audit's table has escapes itself
        tables[name] = table.assign(path=escaped)
    return Tables(**tables), paths


def read_table(path: str) -> pd.DataFrame:
    try:
        return files.read_csv(path, types=collections.defaultdict(lambda: str, NUMBERS))
    except FileNotFoundError:
        raise cli.UserError(f"{path} is missing: run `dvc repro` first.") from None


def read_images(items: list[Item], paths: dict[str, str], p: params.Params) -> dict[str, Shown]:
    """Returns the images by path; those of files that cannot be read are empty.

    Raises:
        UserError: a file has gone, or can no longer be read.
    """
    side = review.longer_side(len(items))

    def read(item: Item) -> Shown:
        if not item.readable:
            return Shown("")
        file = Path(p.data.images, paths[item.path])
        try:
            return review.read_image(file, side, p.data.max_pixels, p.background)
        except ValueError as error:
            if "corrected" in item.reasons and not item.split:  # dropped, maybe because it cannot be read
                return Shown("")
            name = cli.printable(str(file))
            raise cli.UserError(f"{name} cannot be read ({error}): run `dvc repro`, which reads all anew.") from None

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata; set here, because it holds for all threads
        images = tqdm(pool.map(read, items), "reading", len(items), unit="image", disable=None)
        return {item.path: image for item, image in zip(items, images, strict=True)}


if __name__ == "__main__":
    cli.run(main)
