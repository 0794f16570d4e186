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
NUMBER = re.compile(r"\d+")  # whose digits a pattern leaves open


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
    """Returns a pattern whose groups are the series on these very paths, or an empty text.

    Series with the same key in several classes are one group, unless that leaves a class too few groups to divide.
    """
    across = _first_fitting(_patterns(found, ["(", "/(", "^(?:.*/)?(", r"^(?:.*/)?[^/\d]*("]), paths, found["key"])
    if across:
        values = groups.by_pattern(paths, across)
        if values.mask(values == "", paths).groupby(classes).nunique().min() >= FEWEST:
            return across
    by_class = _patterns(found, ["([^/]+/", "(.*/"])
    return _first_fitting(by_class, paths, found["class"] + "/" + found["key"]) or across


def _first_fitting(patterns: Iterator[str], paths: pd.Series, wanted: pd.Series) -> str:
    """Returns the first pattern whose groups are the wanted ones, or an empty text; tries each on a sample first."""
    every = wanted.drop_duplicates()
    sample = wanted[wanted.isin(every.iloc[:: max(1, len(every) // SAMPLE)])].groupby(wanted).head(SAMPLE)
    fitting = (x for x in patterns if _fits(x, paths[sample.index], sample) and _fits(x, paths, wanted))
    return next(fitting, "")


def _fits(pattern: str, paths: pd.Series, wanted: pd.Series) -> bool:
    """Whether the groups of a pattern are the wanted ones, and all others hold one image."""
    values = groups.by_pattern(paths, pattern)
    known, others = values[wanted.index], values.drop(wanted.index)
    others = others[others != ""]
    pairs = pd.DataFrame({"value": known, "wanted": wanted}).drop_duplicates()
    is_same = pairs["value"].is_unique and pairs["wanted"].is_unique and (known != "").all()
    return bool(is_same and others.is_unique and not others.isin(pairs["value"]).any())


def _patterns(found: pd.DataFrame, anchors: list[str]) -> Iterator[str]:
    """Yields patterns that may find the keys, the plainest first."""
    exact = _shapes(found["key"])
    general = sorted({re.sub(r"(?:[^\W_]|\\d\+)+", r"[^\\W_]+", shape) for shape in exact}, key=len, reverse=True)
    for shapes in (exact, general):
        body = "|".join(shapes) if anchors[0] == "(" or len(shapes) == 1 else f"(?:{'|'.join(shapes)})"
        if len(shapes) <= ALTERNATIVES:
            yield from (f"{anchor}{body})" for anchor in anchors)
    marks = _shapes(found["after"].str.extract(r"^([\W_]+[^\W\d_]*)")[0].dropna())
    if 0 < len(marks) <= 3 * ALTERNATIVES:
        yield from (rf"{anchor}[^/]+?)(?:{'|'.join(marks)}|\.\w)" for anchor in anchors)


def _shapes(texts: pd.Series) -> list[str]:
    """Returns regular expressions for texts with other numbers, the longest first, with nothing that a shell takes."""
    shapes = {NUMBER.sub("0", text) for text in texts}
    escaped = (re.sub(r"[^\w\s-]", lambda x: f"\\{x[0]}" if x[0] in ".()[]+" else ".", text) for text in shapes)
    return sorted((NUMBER.sub(r"\\d+", text) for text in escaped), key=lambda shape: (-len(shape), shape))
