"""Tables of corrections are merged into data/corrections.csv."""

import re
import shutil
import subprocess
import sys

import pytest

from stages import split
from stages.common import files, params
from stages.labels import corrections
from stages.tools import relabel
from tests.support import ROOT, environment, make_images, run_command

HEADING = "path,sha256,decision,label,note\n"
NEXT = (
    "Next: `dvc repro` trains with the corrected labels; then `python -m stages.tools.compare` says whether it helped."
)


@pytest.fixture(scope="module")
def after_split(tmp_path_factory):
    """A folder in which split has run."""
    folder = tmp_path_factory.mktemp("relabel")
    make_images(folder / "mine", {"a": 12, "b": 12})
    text = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("data/digits/images", "mine").replace("_size: 224", "_size: 32"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        split.main()
    return folder


@pytest.fixture
def place(after_split, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    shutil.copytree(after_split, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("os._exit", sys.exit)  # TensorFlow may be there, of other tests
    return folder


def merge(capsys, path, text, status=0):
    """Writes a table, merges it, and returns what is printed, in one line, or the error."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    output, error = run_command(relabel.main, "relabel", [path], capsys, status)
    return " ".join((error if status else output).split())


def merged():
    return [(x.path, *x.meaning, x.note) for x in corrections.read(params.CORRECTIONS)]


def hash_of(path):
    return corrections.sha256_of(f"mine/{path}")


AUDIT = """path,split,given,suggested,quality,given_probability,suggested_probability,label,note
b/003.png,test,b,a,0.1,0.1,0.9,a,
b/002.png,train,b,a,0.1,0.1,0.9,b,is right
a/001.png,train,a,b,0.2,0.2,0.8,drop,
a/002.png,train,a,b,0.2,0.2,0.8,Unsure,dark
a/003.png,train,a,b,0.2,0.2,0.8,,
"""


@pytest.mark.parametrize("text", [AUDIT, "\ufeff" + AUDIT.replace(",", ";").replace("\n", "\r\n")])
def test_a_table_of_labels_that_was_edited_by_hand(place, capsys, text):
    said = merge(capsys, "edited.csv", text)
    assert said == f"data/corrections.csv: 4 corrections (4 new, 0 replaced, 0 the same). {NEXT}"
    assert merged() == [
        ("a/001.png", "drop", "", ""),
        ("a/002.png", "unsure", "", "dark"),
        ("b/002.png", "label", "b", "is right"),
        ("b/003.png", "label", "a", ""),
    ]
    assert all(x.sha256 == hash_of(x.path) for x in corrections.read(params.CORRECTIONS))
    split.main()
    assert files.read_json("data/splits/summary.json")["corrections"]["changed"] == 1


def test_corrections_of_the_page_replace_those_of_the_same_images(place, capsys):
    page = HEADING + f"a/001.png,{hash_of('a/001.png')},label,b,\na/002.png,{hash_of('a/002.png')},new_class,c,x\n"
    assert "(2 new, 0 replaced, 0 the same)" in merge(capsys, "c.csv", page)
    page = page.replace("label,b", "drop,") + f"b/001.png,{hash_of('b/001.png')},unsure,,\n"
    said = merge(capsys, "c.csv", page)
    assert "3 corrections (1 new, 1 replaced, 1 the same). Replaced: a/001.png: 'b' -> drop. Next" in said
    assert merged()[:2] == [("a/001.png", "drop", "", ""), ("a/002.png", "label", "c", "x")]
    (place / "mine/a/001.png").rename(place / "mine/b/moved.png")  # the earlier row is of the same image
    page = HEADING + f"b/moved.png,{hash_of('b/moved.png')},label,b,\nb/002.png,,label,c,\n"
    said = merge(capsys, "c.csv", page)
    assert "4 corrections (1 new, 1 replaced, 0 the same). Replaced: b/moved.png: drop -> 'b'." in said
    assert [row[0] for row in merged()] == ["a/002.png", "b/001.png", "b/002.png", "b/moved.png"]
    # Identical files have a decision each.
    shutil.copy("mine/a/005.png", "mine/a/copy.png")
    assert "6 corrections (2 new" in merge(capsys, "c.csv", HEADING + "a/005.png,,label,a,\na/copy.png,,drop,,\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HEADING + "a/001.png,,label,bb,\n", r"row 2 \(a/001.png\) has 'bb' \(did you mean 'b'\?\)"),
        ("path,label\na/001.png,b\nb/001.png,A\n", r"row 3 \(b/001.png\) has 'A' \(did you mean 'a'\?\)\. .*'a', 'b'"),
        ("path,label\na/nowhere.png,b\n", r"row 2 \(a/nowhere.png\) fits no image of mine"),
        ("path,label\na/001.png,b\na/001.png,drop\n", r"row 2 \(a/001.png\) and row 3 \(a/001.png\) disagree"),
        ("path,label\na/001.png,\n", "no row with a label or a decision"),
        ("file,label\na/001.png,b\n", "must have one column path"),
        (HEADING + "a/001.png,,delete,,\n", "has the decision 'delete'"),
        ("", "is no table"),
    ],
)
def test_nothing_is_written_if_a_row_cannot_be_used(place, capsys, text, error):
    merge(capsys, "c.csv", HEADING + "b/003.png,,drop,,\n")
    before = (place / params.CORRECTIONS).read_bytes()
    said = merge(capsys, "d.csv", text, status=1)
    assert re.search(error, said), said
    assert (place / params.CORRECTIONS).read_bytes() == before
    assert "nowhere.csv: No such file" in run_command(relabel.main, "relabel", ["nowhere.csv"], capsys, 1)[1]


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ("a/nowhere.png,,drop,,\n", "WARNING: row 2 (a/nowhere.png) fits no image of mine, and changes nothing."),
        (
            "a/x.png,,drop,,\na/y.png,,unsure,,\n",
            "(a/x.png), row 3 (a/y.png) fit no image of mine, and change nothing.",
        ),
        ("a/003.png,,drop,,\n", ""),
    ],
)
def test_a_drop_that_fits_no_image_is_said(place, capsys, rows, warning):
    said = merge(capsys, "c.csv", HEADING + rows)
    assert warning in said and ("WARNING" in said) == bool(warning)


def test_a_change_of_the_note_alone_is_no_other_decision(place, capsys):
    merge(capsys, "c.csv", HEADING + "a/001.png,,label,b,\n")
    assert f"(0 new, 1 replaced, 0 the same). {NEXT}" in merge(capsys, "c.csv", HEADING + "a/001.png,,label,b,sure\n")


def test_a_run_that_is_not_committed_is_to_be_committed_first(place, capsys):
    table = HEADING + "a/001.png,,drop,,\n"
    (place / "dvc.lock").write_text("old")
    for command in (
        ["init", "-q"],
        ["add", "dvc.lock"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1"],
    ):
        subprocess.run(["git", *command], check=True, env=environment())
    assert "not in git" not in merge(capsys, "c.csv", table)
    (place / "dvc.lock").write_text("new")
    assert f'`git commit -am "Before corrections"` first, so that compare has it to compare with. {NEXT}' in merge(
        capsys, "c.csv", table
    )


def test_before_split_has_run_and_where_data_corrections_names_another_file(place, capsys):
    text = (place / "params.yaml").read_text().replace("data/corrections.csv  #", "mine.csv  #")
    (place / "params.yaml").write_text(text)
    assert merge(capsys, "c.csv", HEADING + "a/001.png,,drop,,\n").startswith("mine.csv: 1 correction (1 new")
    assert not (place / params.CORRECTIONS).exists() and len(corrections.read("mine.csv")) == 1
    shutil.rmtree("data")
    assert "run `dvc repro split` first" in merge(capsys, "c.csv", HEADING + "a/001.png,,drop,,\n", status=1)


def test_paths_of_windows_and_from_elsewhere_become_those_that_split_writes(place, capsys):
    whole = place / "mine/a/003.png"
    text = f"Path;Label;;\r\na\\001.png;b;;\r\n./a/002.png;b;;\r\n{whole};drop;;\r\n;;;\r\n"
    assert "(3 new, 0 replaced, 0 the same)" in merge(capsys, "c.csv", text)
    assert [x.path for x in corrections.read(params.CORRECTIONS)] == ["a/001.png", "a/002.png", "a/003.png"]
    (place / params.CORRECTIONS).write_text(HEADING + "a\\001.png,,label,b,\n")
    assert "1 correction (0 new, 1 replaced, 0 the same)" in merge(capsys, "c.csv", "path,label\na/001.png,a\n")
    for path in ("../params.yaml", place / "params.yaml", "a", "..\\params.yaml"):
        assert "fits no image of mine" in merge(capsys, "c.csv", f"path,label\n{path},b\n", status=1)
    assert merged() == [("a/001.png", "label", "a", "")]
