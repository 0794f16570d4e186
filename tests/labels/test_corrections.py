"""The file of corrections, and the images that its rows are about."""

import hashlib

import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import corrections, sources
from stages.labels.corrections import Correction
from tests.labels.support import touch
from tests.support import ROOT

A, B, C = (letter * 64 for letter in "abc")
HEADING = "path,sha256,decision,label,note\n"
EXCEL = f"\ufeffPath;SHA256;Decision;Label;Note\r\na/1.png;{A.upper()};Label;b;blurred\r\n\r\nb/2.png;;DROP;b;\r\n"
EMPTY = f"path,sha256,decision,label,note,,\na/1.png,{A},label,b,blurred,,\n,,,,,,\nb/2.png,,drop,,,,\n,,,,,,\n"
TABS = f"note\tlabel\tdecision\tsha256\tpath\tmore\nblurred\tb\tlabel\t{A}\ta/1.png\t\n\t\tdrop\t\tb/2.png\tx\n"


def write(folder, text, encoding="utf-8"):
    path = folder / "corrections.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_the_file_in_git_has_a_heading_only_and_no_file_means_the_same(tmp_path, monkeypatch):
    assert params.defaults()["data.corrections"] == params.CORRECTIONS
    assert (ROOT / params.CORRECTIONS).read_text() == ",".join(corrections.COLUMNS) + "\n"
    assert corrections.read(ROOT / params.CORRECTIONS) == []
    monkeypatch.chdir(tmp_path)
    assert corrections.read(params.CORRECTIONS) == []
    with pytest.raises(UserError, match=r"^mine.csv: No such file or directory"):
        corrections.read("mine.csv")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (HEADING + f"a/1.png,{A},label,b,blurred\nb/2.png,,drop,,\n", "utf-8"),
        (EXCEL, "utf-8"),
        (EMPTY, "utf-8"),
        (TABS, "utf-16"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_tables_as_editors_and_spreadsheets_write_them(tmp_path, text, encoding):
    found = corrections.read(write(tmp_path, text, encoding))
    assert [(x.path, x.sha256, x.decision, x.label, x.note) for x in found] == [
        ("a/1.png", A, "label", "b", "blurred"),
        ("b/2.png", "", "drop", "", ""),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"is no table in CSV.*No columns"),
        ("path,label\na/1.png,b\n", r"must have one column sha256, decision, note, but its first line is path, label"),
        (HEADING.replace("note", "path"), r"one column path, note"),
        (HEADING + "a/1.png,,delete,,\n", r"row 2 \(a/1.png\) has the decision 'delete', but .* label, new_class"),
        (HEADING + "a/1.png,,drop,,\nb/1.png,,label,,\n", r"row 3 \(b/1.png\) has the decision label, but no label"),
        (HEADING + ",,drop,,\n", r"row 2 \(\) names no image"),
        (HEADING + "a/1.png,12e4,drop,,\n", r"row 2 \(a/1.png\) has '12e4' for a sha256"),
        (HEADING + "a/1.png,,label,b,dark, blurred\n", r"is no table in CSV.*line 2.*quotes"),
        ("\x89PNG\0\0", r"is no table|must have one column"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, error):
    with pytest.raises(UserError, match=error) as caught:
        corrections.read(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_again_whatever_stands_in_it(tmp_path):
    rows = [
        Correction("b/2.png", B, "drop", "", 'of "x", twice'),
        Correction("a/new\nline", A, "label", "Käse; Brot", "a, b"),
        Correction("a/return\r1", C, "new_class", "=1+1", "é"),
    ]
    corrections.write(rows, tmp_path / "c.csv")
    found = corrections.read(tmp_path / "c.csv")
    expected = sorted(rows, key=lambda row: row.path)
    assert [(*x.meaning, x.sha256, x.note) for x in found] == [(*x.meaning, x.sha256, x.note) for x in expected]
    # A carriage return is read as a line break: such an image is known by its hash.
    assert [x.path for x in found] == ["a/new\nline", "a/return\n1", "b/2.png"]


def test_a_row_fits_by_path_and_hash_or_by_hash_where_its_path_has_gone():
    hashes = {"a/1.png": A, "b/moved.png": B, "a/2.png": C, "a/bad.png": ""}
    rows = [
        Correction("a/1.png", A, "label", "x"),
        Correction("a/old.png", B, "label", "y"),
        Correction("a\\2.png", "", "drop"),
        Correction("a/bad.png", "", "unsure"),
    ]
    found, unmatched = corrections.match(rows, hashes, "c.csv")
    assert found == dict(zip(["a/1.png", "b/moved.png", "a/2.png", "a/bad.png"], rows, strict=True)) and not unmatched
    # A file that was replaced is another image; one that cannot be read has no hash to fit.
    others = [Correction("a/1.png", "d" * 64, "label", "x"), Correction("a/bad.png", A.replace("a", "e"), "drop")]
    assert corrections.match(others, hashes, "c.csv") == ({}, others)
    # What lies at the path of another image now is corrected as what it is.
    swapped = [Correction("a/1.png", C, "label", "x")]
    assert corrections.match(swapped, hashes, "c.csv")[0].keys() == {"a/2.png"}


def test_a_class_is_that_of_all_identical_files_but_of_those_with_a_row_of_their_own():
    hashes = {"a/1.png": A, "a/copy.png": A, "b/1.png": A, "b/2.png": B}
    label, drop = Correction("a/1.png", A, "label", "x"), Correction("b/1.png", A, "drop")
    assert corrections.match([label], hashes, "c.csv")[0] == dict.fromkeys(["a/1.png", "a/copy.png", "b/1.png"], label)
    assert corrections.match([label, drop], hashes, "c.csv")[0] == {
        "a/1.png": label,
        "a/copy.png": label,
        "b/1.png": drop,
    }
    assert corrections.match([drop], hashes, "c.csv")[0] == {"b/1.png": drop}
    moved = Correction("gone.png", A, "drop")
    assert corrections.match([moved], hashes, "c.csv")[0] == dict.fromkeys(["a/1.png", "a/copy.png", "b/1.png"], moved)


def test_rows_that_disagree_on_an_image_are_named_and_those_that_agree_count_once():
    hashes = {"a/1.png": A, "a/2.png": B}
    first, same = Correction("a/1.png", A, "new_class", "x", "", 2), Correction("gone.png", A, "label", "x", "", 3)
    assert corrections.match([first, same], hashes, "c.csv")[0] == {"a/1.png": first}
    gone, other = Correction("gone.png", A, "unsure", "", "", 4), Correction("a/1.png", "", "label", "y", "", 4)
    with pytest.raises(UserError, match=r"^c.csv: row 2 \(a/1.png\) and row 4 \(a/1.png\) disagree on a/1.png"):
        corrections.match([first, other], hashes, "c.csv")
    with pytest.raises(UserError, match=r"^c.csv: row 3 \(gone.png\) and row 4 \(gone.png\) disagree on a/3.png"):
        corrections.match([same, gone], {"a/3.png": A}, "c.csv")


def test_the_row_of_a_file_that_is_gone_is_not_about_an_identical_one_that_has_its_own():
    drop, label = Correction("a/1.png", A, "drop"), Correction("a/copy.png", A, "label", "x")
    assert corrections.match([drop, label], {"a/1.png": A, "a/copy.png": A}, "c.csv")[0]["a/1.png"] == drop
    for rows in ([drop, label], [label, drop]):
        assert corrections.match(rows, {"a/copy.png": A}, "c.csv") == ({"a/copy.png": label}, [])


def test_a_class_that_the_data_do_not_have_must_be_called_new():
    rows = [
        Correction("1", "", "label", "doog", "", 2),
        Correction("2", "", "label", "cat"),
        Correction("3", "", "drop"),
    ]
    with pytest.raises(
        UserError, match=r"row 2 \(1\) has 'doog' \(did you mean 'dog'\?\)\. The classes are 'cat', 'dog';"
    ):
        corrections.check_classes(rows, {"cat", "dog"}, "c.csv")
    corrections.check_classes([*rows, Correction("4", "", "new_class", "doog")], {"cat"}, "c.csv")


def test_the_sentence_names_what_there_is():
    counts = dict.fromkeys(("changed", "labelled", "confirmed", "dropped", "unsure", "obsolete"), 0)
    assert corrections.describe(counts) == corrections.describe({}) == ""
    assert (
        corrections.describe(counts | {"changed": 1, "dropped": 2}) == "Corrections: 1 label changed, 2 images dropped."
    )
    assert corrections.describe(counts | {"unsure": 1, "obsolete": 1}).endswith(
        ": 1 image unsure, 1 row of an image that is gone."
    )


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ("unlabelled/1.jpg,,label,cat,", 9),
        ("unlabelled/1.jpg,,new_class,bird,", 9),
        (f"unlabelled/old.jpg,{hashlib.sha256(b'one').hexdigest()},label,cat,", 9),
        ("unlabelled/1.jpg,,label,unlabelled,", 10),
        (f"unlabelled/1.jpg,{A},label,cat,", 10),
        ("unlabelled/1.jpg,,drop,,", 10),
    ],
)
def test_an_unlabelled_image_that_a_correction_labels_is_there_without_a_class(tmp_path, row, left):
    touch(tmp_path / "mine", "cat/{0..9}.jpg", "dog/{0..9}.jpg", "unlabelled/{0..9}.jpg")
    (tmp_path / "mine/unlabelled/1.jpg").write_bytes(b"one")
    rows = corrections.read(write(tmp_path, HEADING + row + "\n"))
    found = sources.find(params.Data(images=str(tmp_path / "mine")), corrected=rows)
    assert [x.path for x in found.images if not x.class_name] == ["unlabelled/1.jpg"] * (10 - left)
    assert len(found.left_out) == left and f"'unlabelled' ({left} images)" in found.notes[0]


def test_an_image_of_a_class_that_is_not_used_is_there_if_it_is_corrected_to_one_that_is(tmp_path):
    touch(tmp_path / "mine", "cat/{0..9}.jpg", "dog/{0..9}.jpg", "fox/{0..9}.jpg")
    rows = corrections.read(
        write(tmp_path, HEADING + "fox/1.jpg,,label,cat,\nfox/2.jpg,,label,fox,\nfox/3.jpg,,drop,,\n")
    )
    data = params.Data(images=str(tmp_path / "mine"), classes=["cat", "dog"])
    assert [x.path for x in sources.find(data, corrected=rows).images if not x.class_name] == ["fox/1.jpg"]


def test_classes_that_corrections_add_may_stand_in_data_classes(tmp_path):
    touch(tmp_path / "mine", "cat/{0..9}.jpg", "dog/{0..9}.jpg", "fox/{0..9}.jpg")
    rows = [Correction("cat/1.jpg", "", "new_class", "owl"), Correction("fox/1.jpg", "", "new_class", "owl")]
    data = params.Data(images=str(tmp_path / "mine"), classes=["cat", "dog", "owl"])
    found = sources.find(data, corrected=rows)
    assert [x.path for x in found.images if not x.class_name] == ["fox/1.jpg"] and len(found.left_out) == 9
    for others in (
        [],
        [Correction("cat/1.jpg", "", "label", "owl")],
        [Correction("cat/1.jpg", "", "new_class", "own")],
    ):
        with pytest.raises(UserError, match="data.classes names 'owl', but no image has that label"):
            sources.find(data, corrected=others)
