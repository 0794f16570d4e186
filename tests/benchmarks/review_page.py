"""Uses the page to check labels in headless Chromium, as a person would, and checks what it saves.

    python -m tests.benchmarks.review_page [--shots FOLDER]

Makes up a run with hostile names, writes its page, and decides on images with the mouse, the keyboard and by touch;
reloads, undoes, filters, opens a table of corrections, saves, and compares the saved file with what was decided. Then
scrolls a page of 2,000 images, and prints the longest task of the browser. Needs Node.js and Chromium; npm
fetches playwright-core into a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from stages import review
from stages.labels import corrections
from tests.benchmarks.page import install, read_options
from tests.reporting import review_support as made
from tests.support import ROOT

CLASSES = [
    "cat",
    "<b>bold</b>",
    "=1+1",
    "q\"uo'te,",
    "two\nlines",
    "a\u202eb",
    "__proto__",
    "constructor",
    "-->",
    "dog",
]
MANY = 2000  # images of the long page
LONGEST_TASK = 200  # milliseconds: while 2,000 images scroll


def main():
    options = read_options(__doc__)
    script = Path(__file__).with_suffix(".mjs").resolve()
    with tempfile.TemporaryDirectory() as folder:
        packages = Path(folder, "packages")
        install(packages)
        os.chdir(folder)
        params = (ROOT / "params.yaml").read_text().replace("data/digits/images", made.IMAGES)
        Path("params.yaml").write_text(params)
        images = write_hostile()
        write_many(Path("many.html"))
        inputs = ["plots/review.html", "rebuilt.html", "many.html", "opened.csv"]
        command = ["node", script, packages, options.chromium, *inputs, options.shots]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        problems = result["problems"] + compare("saved.csv", images)
    longest = max(result["tasks"], default=0)
    task = f"{longest} ms" if longest else "less than 50 ms"
    print(f"{MANY:,} images: loaded in {result['loaded']} ms; the longest task while they scroll takes {task}")
    if longest > LONGEST_TASK:
        problems.append(f"a task of more than {LONGEST_TASK} ms")
    print("\n".join(problems) or "no problems")
    sys.exit(bool(problems))


def write_hostile():
    """Writes plots/review.html, of 20 images, two of each class, and what else review_page.mjs opens.

    In rebuilt.html the project has decided on three images; opened.csv has a row of a moved file and an unknown one.
    """
    images = made.write_images(dict.fromkeys(CLASSES, 2), size=(600, 400))
    rows = [
        (x.path, x.split, x[2], CLASSES[(place // 2 + 1) % len(CLASSES)]) for place, x in enumerate(images.itertuples())
    ]
    made.write_tables(images, labels=made.labels(*rows))
    known = images.iloc[19], images.iloc[18]
    made.write_corrections(
        "data/corrections.csv",
        (known[0]["path"], known[0]["sha256"], "label", "cat", 'known, "before"\nthis'),
        ("elsewhere, <b>.jpg", "e" * 64, "new_class", "=2+2", ""),
    )
    moved, unknown = images.iloc[17], ("@far.jpg", "f" * 64, "drop", "", "-note")
    made.write_corrections("opened.csv", ("moved/away.jpg", moved["sha256"], "label", "two\nlines", "moved"), unknown)
    decided = [(0, "label", "dog"), (2, "drop", ""), (18, "unsure", "")]
    mine = Path("data/corrections.csv").read_text()
    made.write_corrections(
        "data/corrections.csv", *((images["path"][x], images["sha256"][x], *rest, "") for x, *rest in decided)
    )
    review.main()
    Path("plots/review.html").rename("rebuilt.html")
    Path("data/corrections.csv").write_text(mine)
    review.main()
    return images


def write_many(path):
    """Writes a page of MANY images; a file is behind several of them."""
    files = made.write_images({"A": 50, "B": 50}, size=(400, 300), root="data/mine/many")
    numbers = [x % len(files) for x in range(MANY)]
    links = [f"many/{x:04}.jpg" for x in range(MANY)]
    for link, number in zip(links, numbers, strict=True):
        os.link(f"data/mine/many/{files['path'][number]}", f"data/mine/{link}")
    images = files.iloc[numbers].assign(path=links)
    before = Path("plots/review.html").read_bytes()
    made.write_tables(images, labels=made.labels(*((x, "train", "A", "B") for x in links)))
    review.main()
    Path("plots/review.html").rename(path)
    Path("plots/review.html").write_bytes(before)


def compare(path, images):
    """Returns in words in what the saved file differs from what review_page.mjs has decided."""
    rows = {row.path: (row.decision, row.label, row.note) for row in corrections.read(path)}
    expected = {
        0: ("label", "cat", ""),  # kept, by the mouse
        1: ("label", "<b>bold</b>", ""),  # as suggested, by the mouse
        2: ("drop", "", ""),  # by the keyboard
        3: ("unsure", "", 'who\nknows, "this"?'),  # by the keyboard, with a note
        4: ("new_class", '=new, "class"', ""),  # from the list
        5: ("label", "a\u202eb", ""),  # from the list
        6: ("label", "two\nlines", ""),  # several, by the keyboard
        7: ("label", "two\nlines", ""),
        8: ("drop", "", ""),  # several, from the bar
        9: ("drop", "", ""),
        10: ("label", "__proto__", ""),  # by the mouse, after it was closed
        11: ("unsure", "", ""),  # enlarged, by the keyboard
        17: ("label", "two\nlines", "moved"),
        19: ("label", "cat", 'known, "before"\nthis'),
    }
    wanted = {images["path"][number]: row for number, row in expected.items()}
    wanted["elsewhere, <b>.jpg"] = ("new_class", "=2+2", "")
    wanted["@far.jpg"] = ("drop", "", "-note")
    problems = [
        f"{x!r} is {rows.get(x)}, not {wanted.get(x)}" for x in {*rows, *wanted} if rows.get(x) != wanted.get(x)
    ]
    table = pd.read_csv(path, keep_default_na=False, dtype=str).set_index("path")
    hashes = images.set_index("path")["sha256"]
    return problems + [
        f"{x!r} has another hash" for x in wanted.keys() & hashes.keys() if table["sha256"].get(x) != hashes[x]
    ]


if __name__ == "__main__":
    main()
