import re

import pandas as pd
import pytest

from stages.common import params
from stages.splits import groups, series
from tests.benchmarks import series as schemes


def lines(paths, given=""):
    """The lines on a split that puts every third image of the list into test."""
    table = pd.DataFrame({"path": paths, "class": [path.split("/")[-2] for path in paths], "split": given})
    split = pd.Series(["train", "validation", "test"] * len(paths))[: len(paths)]
    return series.notes(table, split, params.Data(images="mine"))


@pytest.mark.parametrize(
    "name", ["frames of a clip", "versions by word", "burst", "BIDS", "UUID and crop", "camel case"]
)
def test_a_pattern_that_fits_these_names_keeps_each_series_in_one_split(name):
    line, shared = schemes.advice(schemes.names(schemes.SERIES[name]))
    assert "test images share one with train" in line and shared == 0


@pytest.mark.parametrize("name", schemes.NONE)
def test_names_without_series_give_no_line(name):
    assert schemes.advice(schemes.names(schemes.NONE[name]))[0] == ""


@pytest.mark.parametrize("clips", [2, 3, 12])
def test_numbers_that_restart_in_each_class_take_the_class_folder_where_groups_would_be_few(clips):
    paths = [f"{name}/clip{n}_frame_{m}.jpg" for name in "ab" for n in range(clips) for m in range(9)]
    [line] = lines(paths)
    pattern = r"(clip\d+)" if clips == 12 else r"([^/]+/clip\d+)"
    assert f"-S \"data.group_pattern='{pattern}'\"" in line
    assert ("12 of its groups hold images of several classes" in line) == (clips == 12)
    assert groups.by_pattern(pd.Series(paths), pattern).nunique() == (12 if clips == 12 else 2 * clips)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (
            [f"{n}/aug_{s}_{m * 37 % 100}" for n in range(2) for s in range(9) for m in (1, 2)],
            r"^(?:.*/)?[^/\d]*(\d+)",
        ),
        ([f"a/{name}{end}" for name in ("sea", "la mer", "x y z", "b_c", "d") for end in ("", "_flip", "_rot")], None),
        ([f"a/{name}.jpg_{n}" for name in ("sea", "la mer", "x y z", "b_c", "d") for n in range(3)], None),
        ([f"a/{n}{letter}" for n in range(9) for letter in "abc"], r"(\d+)"),
        ([f"a/cow{n}_{m}" for n in range(3) for m in range(20)], r"([^/]+/cow\d+)"),
    ],
    ids=["numbers of classes", "words", "copies of words", "letters", "few sources"],
)
def test_a_pattern_is_found(names, pattern):
    [line] = lines([f"{name}.jpg" for name in names])
    found = re.search(r"data\.group_pattern='(.*)'\"", line)[1]
    assert found == (pattern or found)
    values = groups.by_pattern(pd.Series([f"{name}.jpg" for name in names]), found)
    assert (values != "").all() and values.value_counts().nunique() == 1


def test_of_given_splits_the_advice_divides_anew():
    paths = [f"{split}/a/clip{n}_frame_{m}.jpg" for split in ("train", "test") for n in range(9) for m in range(4)]
    [line] = lines(paths, "train")
    assert line.endswith("-S \"data.group_pattern='(clip\\d+)'\" -S data.split=random")
    assert not line.count("\n")


@pytest.mark.parametrize("odd", ["it's $5 clip", 'say "x" clip', "`a` clip!"])
def test_the_pattern_has_nothing_that_a_shell_takes(odd):
    [line] = lines([f"a/{odd}{n:02}_frame_{m}.jpg" for n in range(9) for m in range(4)])
    pattern = re.search(r"data\.group_pattern='(.*)'\"", line)[1]
    assert not set(pattern) & set("'\"`$!") and re.compile(pattern).groups == 1


def test_nothing_is_said_where_each_series_is_in_one_split():
    paths = [f"a/clip{n}_frame_{m}.jpg" for n in range(9) for m in range(4)]
    table = pd.DataFrame({"path": paths, "class": "a", "split": ""})
    split = pd.Series([("train", "validation", "test")[n // 4 % 3] for n in range(len(paths))])
    assert series.notes(table, split, params.Data(images="mine")) == []
