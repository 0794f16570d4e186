"""Series of images of one source, found in file names: frames, windows, versions, bursts, slices of a patient."""

import re
from collections.abc import Iterator

import pandas as pd

from stages.common import params
from stages.common.cli import printable
from stages.splits import groups, name_fields
from stages.splits.pack import Manifest

FEWEST = 5  # number of groups of a class, at least, for a division that is worth something
ALTERNATIVES = 4  # maximum number in a pattern
SAMPLE = 50  # number of series, and of images of each, that a pattern is tried on first
NUMBER = re.compile(r"\d+")
WORD = re.compile(r"[^\W_]+")


def notes(manifest: Manifest, split: pd.Series, data: params.Data) -> list[str]:
    """Says in a line how many test images share a series with train, and which data.group_pattern keeps it together."""
    found = find(manifest["path"], manifest["class"])
    series = (found["class"] + "/" + found["key"]).reindex(manifest.index)
    shared = (split == "test") & series.isin(set(series[split == "train"].dropna()))
    if not shared.any():
        return []
    first = shared.idxmax()
    text = (
        f"WARNING: file names form {series.nunique()} series, such as {printable(found['key'][first])} of "
        f"{printable(manifest['path'][first])}: {shared.sum()} of {(split == 'test').sum()} test images share one with "
        "train, so the score may flatter. "
    )
    pattern = suggest(manifest["path"], manifest["class"], found)
    if not pattern:
        return [f"{text}A column group in a table of labels keeps each series in one split."]
    values = groups.by_pattern(manifest["path"], pattern)
    mixed = (manifest["class"].groupby(values[values != ""]).nunique() > 1).sum()
    anew = " -S data.split=random" if manifest["split"].any() else ""
    return [
        f"{text}This keeps each in one split: -S \"data.group_pattern='{pattern}'\"{anew}"
        + (f" ({mixed} of its groups hold images of several classes)" if mixed else "")
    ]


def find(paths: pd.Series, classes: pd.Series) -> pd.DataFrame:
    """Returns the rows of name_fields.keys for images that are in series, if their class has two series or more."""
    keys = name_fields.keys(paths, classes)
    source = keys.groupby(["class", "key"]).ngroup()
    size = source.groupby(source).transform("size")
    other = keys["rest"] == "other"
    trusted = _trusted(keys.assign(source=source, together=size > 1)[other])
    is_series = (keys["rest"] == "member") | other & keys["shape"].isin(trusted)
    found = keys[(size > 1) & is_series.groupby(source).transform("any")]
    return found[found.groupby("class")["key"].transform("nunique") > 1]


def _trusted(plain: pd.DataFrame) -> set[str]:
    """Returns the shapes of names in which a number or word that says little tells members of a series apart.

    Most of such names must have company, or the numbers are no indices; and if there are few keys, numbers must begin
    anew with each: otherwise they count images, and the key may be a batch of them.
    """
    found = set()
    for shape, images in plain.groupby("shape"):
        restarts = images.duplicated(["class", "before", "after"]).any()
        is_many = images["class"].nunique() * len(images) < images["source"].nunique() ** 2
        if images["together"].mean() > 0.5 and (restarts or is_many):
            found.add(shape)
    return found


def suggest(paths: pd.Series, classes: pd.Series, found: pd.DataFrame) -> str:
    """Returns a pattern that puts each series in one group on these very paths, or an empty text.

    Series with the same key in several classes are one group, unless that leaves a class too few groups to divide.
    """
    across = _pattern(paths, found, found["key"], ["(", "/(", "(?:^|/)(", "^.*/("])
    if across:
        values = groups.by_pattern(paths, across)
        if values.mask(values == "", paths).groupby(classes).nunique().min() >= FEWEST:
            return across
    return _pattern(paths, found, found["class"] + "/" + found["key"], ["([^/]+/", "(.*/"]) or across


def _pattern(paths: pd.Series, found: pd.DataFrame, wanted: pd.Series, anchors: list[str]) -> str:
    """Returns the plainest pattern whose groups are the wanted ones, or else that holds them whole, or nothing."""
    patterns = list(_patterns(found, anchors))
    keys = wanted.drop_duplicates()
    sample = wanted[wanted.isin(keys.iloc[:: max(1, len(keys) // SAMPLE)])].groupby(wanted).head(SAMPLE)
    for exactly in (True, False):
        for pattern in patterns:
            if _keeps(pattern, paths, sample, exactly) and _keeps(pattern, paths, wanted, exactly):
                others = groups.by_pattern(paths.drop(wanted.index), pattern) if exactly else pd.Series(dtype=object)
                others = others[others != ""]
                if others.is_unique and not others.isin(set(groups.by_pattern(paths[wanted.index], pattern))).any():
                    return pattern
    return ""


def _keeps(pattern: str, paths: pd.Series, wanted: pd.Series, exactly: bool) -> bool:
    """Whether each wanted group is in one group of a pattern; if exactly, in one of its own."""
    values = groups.by_pattern(paths[wanted.index], pattern)
    if (values == "").any() or values.nunique() == 1:
        return False
    return (values.groupby(wanted).nunique() == 1).all() and not (exactly and values.nunique() < wanted.nunique())


def _patterns(found: pd.DataFrame, anchors: list[str]) -> Iterator[str]:
    """Yields patterns that may find the keys, the plainest first."""
    leads = _shapes(found["before"])
    if any(leads) and len(leads) <= ALTERNATIVES and anchors[0] == "(":
        anchors = [*anchors, *(f"{anchor[:-1]}(?:{'|'.join(leads)})(" for anchor in anchors[1:])]
    exact = _shapes(found["key"])
    for shapes in (exact, sorted({re.sub(r"(?:[^\W_]|\\d\+)+", r"[^\\W_]+", shape) for shape in exact})):
        if len(shapes) <= ALTERNATIVES:
            body = "|".join(shapes) if len(shapes) == 1 or anchors[0] == "(" else f"(?:{'|'.join(shapes)})"
            yield from (f"{anchor}{body})" for anchor in anchors)
    marks = _shapes(found["after"].str.extract(r"^([\W_]*[^\W\d_]*)")[0])
    if len(marks) <= 3 * ALTERNATIVES:
        yield from (rf"{anchor}[^/]+?)(?:{'|'.join(filter(None, marks))}|\.\w+.$)" for anchor in anchors)
    yield from (f"{anchor}" + r"[^/\d]*\d+" * count + ")" for count in (1, 2) for anchor in anchors)


def _shapes(texts: pd.Series) -> list[str]:
    """Returns regular expressions for texts with other numbers, the longest first; a shell takes none of them."""
    shapes = {NUMBER.sub("0", text) for text in texts}
    escaped = (re.sub(r"[^\w\s-]", lambda x: f"\\{x[0]}" if x[0] in ".()[]+" else ".", text) for text in shapes)
    return sorted((NUMBER.sub(r"\\d+", text) for text in escaped), key=lambda shape: (-len(shape), shape))
