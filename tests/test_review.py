"""The page to check labels, from made-up results of the other stages."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from stages import review
from stages.common import cli
from stages.reporting.review import REASONS
from tests.reporting.review_support import (
    IMAGES,
    corrected,
    labels,
    mistakes,
    near_duplicates,
    unreadable,
    write_corrections,
    write_images,
    write_tables,
)

PAGE = Path("plots/review.html")
HOSTILE = ["<b>x", "a\u202eb", "__proto__", "constructor", "q\"uo'te", "</script><!--<script>", "=1+1", "two\nlines"]


def make_run(classes=("cat", "dog"), per_class=6):
    """Six images of each class with all reasons to be shown, of which the last ones have none."""
    images = write_images(dict.fromkeys(classes, per_class))
    path, name, split = images["path"], images["class"], images["split"]
    write_tables(
        images,
        labels=labels((path[0], split[0], name[0], classes[1])),
        mistakes=mistakes((split[1], path[1], name[1], classes[1], 0.9)),
        near_duplicates=near_duplicates(
            (1, path[2], name[2], "test", 1, 1), (1, path[6], name[6], "train", 1, 1),
            (4, path[3], name[3], "train", 0, 0), (4, path[4], name[4], "dropped", 0, 0),
        ),
        unreadable=unreadable((f"{classes[0]}/broken.jpg", "cut off <here>")),
        corrected=corrected((path[7], images["sha256"][7], split[7], "label", classes[0], name[7], "sure")),
    )  # fmt: skip
    return images


@pytest.fixture(autouse=True)
def folder(workplace):
    workplace.set({"data.images": IMAGES})


def write_page():
    review.main()
    return PAGE.read_text(encoding="utf-8")


def data_of(page):
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(text)


def test_every_reason_is_shown_and_every_image_once(capsys):
    make_run()
    page = write_page()
    items = data_of(page)["items"]
    assert {reason for item in items for reason in item["reasons"]} == REASONS.keys()
    assert len({item["path"] for item in items}) == len(items) == 8
    assert page.count("<article") == 8 and page.count('src="data:image/webp;base64,') == 7
    assert "This file cannot be read: cut off &lt;here&gt;" in page
    assert page.count('class="unit group"') == 2
    assert re.fullmatch(
        r"8 images to check in plots/review\.html \(.* kB\): open it in\s+a browser\.\n", capsys.readouterr().out
    )


def test_each_item_has_the_hash_and_the_class_of_its_file():
    images = make_run().set_index("path")
    for item in data_of(write_page())["items"]:
        known = images.loc[item["path"]] if item["path"] in images.index else {"sha256": "", "class": ""}
        assert (item["sha256"], item["label"]) == (known["sha256"], known["class"])


def test_only_its_own_script_may_run_and_nothing_is_loaded():
    make_run()
    page = write_page()
    [policy] = re.findall('Content-Security-Policy" content="(.*?)">', page)
    [script] = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|@import|url\(| on\w+=", page)


def test_it_has_the_same_bytes_each_time():
    make_run()
    write_page()
    before = PAGE.read_bytes()
    write_page()
    assert PAGE.read_bytes() == before


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 2))
def test_hostile_names_are_inert_and_come_back(first):
    classes = HOSTILE[first : first + 2]
    # A name with a slash would be two folders.
    folders = [name.replace("/", "∕") for name in classes]
    make_run(folders)
    page = write_page()
    data = data_of(page)
    assert data["classes"] == sorted(folders) and {item["label"] for item in data["items"]} == {*folders, ""}
    assert page.count("<script") == 2 and "<b>x" not in page and "\u202e" not in page and "<!--" not in page


def test_the_corrections_of_the_project_are_in_the_page():
    images = make_run()
    rows = [("cat/007.jpg", images["sha256"][7], "label", "dog", "a,b"), ("gone.jpg", "f" * 64, "drop", "", "")]
    write_corrections("data/corrections.csv", *rows)
    assert [tuple(row.values()) for row in data_of(write_page())["corrections"]] == rows


def test_the_browsers_storage_has_the_same_name_while_labels_change_and_another_for_other_images():
    images = make_run()
    before = data_of(write_page())["hash"]
    write_tables(images.assign(**{"class": "dog"}))
    assert data_of(write_page())["hash"] == before
    dropped = corrected(*((x.path, x.sha256, "", "drop", x[2], "", "") for x in images[:3].itertuples()))
    write_tables(images[3:], corrected=dropped)
    assert data_of(write_page())["hash"] == before
    write_tables(images[3:])
    assert data_of(write_page())["hash"] != before


def test_files_with_the_same_bytes_are_told_apart_by_their_paths():
    images = write_images({"cat": 3, "dog": 3})
    shutil.copy(f"{IMAGES}/cat/000.jpg", f"{IMAGES}/dog/000.jpg")
    images.loc[3, "sha256"] = images["sha256"][0]
    rows = [(images["path"][x], "train", images["class"][x], "x") for x in (0, 1)]
    write_tables(images, labels=labels(*rows))
    assert [item["twin"] for item in data_of(write_page())["items"]] == [True, False]


def test_a_file_that_was_dropped_may_be_broken():
    images = write_images({"cat": 3, "dog": 3})
    Path(f"{IMAGES}/cat/000.jpg").write_bytes(b"no image")
    write_tables(images[1:], corrected=corrected((images["path"][0], "", "", "drop", "cat", "", "")))
    assert write_page().count('<div class="image none">') == 1


def test_nothing_to_check_is_said():
    write_tables(write_images({"cat": 3, "dog": 3}))
    page = write_page()
    assert "Nothing to check" in page and "<article" not in page


def test_a_name_that_is_no_text_is_shown_as_an_escape():
    images = write_images({"cat": 3, "dog": 3})
    Path(f"{IMAGES}/cat/000.jpg").rename(f"{IMAGES}/cat/\udcff.jpg")
    images.loc[0, "path"] = "cat/\udcff.jpg"
    write_tables(images, labels=labels(("cat/\\udcff.jpg", "train", "cat", "dog")))
    [item] = data_of(write_page())["items"]
    assert item["path"] == "cat/\\udcff.jpg" and item["sha256"] == images["sha256"][0]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda: Path("data/audit/labels.csv").unlink(), "data/audit/labels.csv is missing: run `dvc repro` first."),
        (
            lambda: Path(f"{IMAGES}/cat/000.jpg").unlink(),
            "data/mine/cat/000.jpg cannot be read (No such file or directory): run",
        ),
        (lambda: Path(f"{IMAGES}/cat/000.jpg").write_bytes(b"no image"), "data/mine/cat/000.jpg cannot be read"),
        (lambda: Path("data/evaluation/mistakes.csv").write_text('"a\n'), "data/evaluation/mistakes.csv is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_no_page_is_left(damage, text):
    make_run()
    damage()
    with pytest.raises(cli.UserError, match=re.escape(text)):
        review.main()
    assert not PAGE.exists()
