"""File names read as a key, which tells the source of an image, and the rest, which tells the member of its series.

A name is read as its form, a text of the same length in which each character says what stands there:

    clip12_frame_0034 -> aaa00_||||||||||    letters, digits and a mark of a member: the key is clip12
    IMG_20210503_101500 -> aaa_TTTTTTTTTTTTTTT    a time, which is a number
    0007-plot3 -> >>>>>aaaa0    a number of a member that comes first: the key is plot3

The key ends with the first word that has a number and varies within a class, before the first mark.
"""

import re
import string
from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from stages.splits import groups

# Words before the number of a member.
INDEX = (
    r"(?:(?:key)?frames?|frm|slices?|slc|tiles?|patch(?:es)?|crop|win(?:dow)?|views?|shot|chip|chunk|block|cell|roi"
    r"|burst|snap|rows?|col(?:umn)?s?|still|angle|pose|step|layer|band|stack|section|copy|ver(?:sion)?|variant|page)"
)
# Words for a changed version of an image.
CHANGED = (
    r"(?:horizontal[a-z]*|vertical[a-z]*|[hvlrud]{0,2}flip[a-z]*|flop|mirror[a-z]*|rot(?:at[a-z]*)?"
    r"|aug(?:mented|mentation)?|dark[a-z]*|bright[a-z]*|blur[a-z]*|nois[ey]|contrast|crop(?:ped)?|copy|edit(?:ed)?"
    r"|resized?|scaled?|zoom(?:ed)?|shear[a-z]*|shift[a-z]*|gr[ae]y[a-z]*|cover|sharp[a-z]*|satur[a-z]*|hue"
    r"|jitter[a-z]*|transl[a-z]*|transf[a-z]*|gamma|invert[a-z]*|cutout|elastic|warp[a-z]*)"
)
# Words before the number of a part of a source, which is no source.
PART = (
    r"(?:ima?ge?s?|photos?|pics?|pictures?|cam(?:era)?|scan|visit|ses(?:sion)?|day|time|run|trial|take|series|study|eye"
    r"|level|fov|left|right|front|back|side|top|bottom)"
)
# Words before the number of a portion of a data set.
PORTION = r"(?:part|batch|fold|set|split|chunk|shard|dis[ck]|vol(?:ume)?|v|version|level|class|label|size|images?)"
DATE = r"(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d"  # a day, such as 2021-05-03
AFTER = r"(?![^\W_])"  # the end of a word
# What the characters of a form other than letters and digits stand for; the first that fits counts.
MARKS = {
    # A time, a UUID or a hash.
    "T": rf"(?<!\d){DATE}(?:[-_ .t]|[ _]at[ _])?[0-2]\d[-_.:h]?[0-5]\d(?:[-_.:m]?[0-5]\d)?\d*"
    r"|(?<![^\W_])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3})?[0-9a-f]{10,}",
    # A number that comes before that of the source, as in 0007-plot3 and frame_07_clip3.
    ">": rf"^(?:\d*(?:{INDEX}|{PART})[-_ ]?)?\d{{1,6}}[-_ ]+"
    rf"(?=(?!(?:{INDEX}|{PART}|{CHANGED})\d{{1,8}}(?!\d))[a-z]{{2,}}\d)",
    # A member: its index, its change, its place in an image, the name of an image in that of a copy (NAME.jpg_3).
    "|": rf"(?<![a-z])(?=[a-z]{{3}})(?:(?<=.){INDEX}[-_ ]?\d{{1,8}}(?!\d)|{CHANGED}\d*{AFTER})"
    rf"|(?<=[\W_])(?:x_?\d+[-_]?y|y_?\d+[-_]?x|r_?\d+[-_]?c|c_?\d+[-_]?r)_?\d+{AFTER}"
    rf"|[_.](?:{groups.EXTENSIONS})[-_.].*\d.*",
    # A number that is no source: of a day, a year, WordNet, a portion of a data set.
    "a": rf"(?<![^\W_])(?:{DATE}|(?:19|20)\d\d|n\d{{8}}|(?:train|test|val)?{PORTION}[-_ ]?\d+){AFTER}",
}
CHARACTERS = "".join(MARKS)  # in the order of the groups of MARK
MARK = re.compile("|".join(f"({mark})" for mark in MARKS.values()))
# Letters as small letters, then letters and digits as a and 0.
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
PLAIN = str.maketrans(string.ascii_lowercase + string.digits, "a" * 26 + "0" * 10)
NUMBERED = re.compile(r"[^\W_]*[0T][^\W_]*")  # a word with a number, in a form
WORD = re.compile(r"[^\W0_]+")  # a word without, in a form
# Folders that are no sources: of cameras, times, sizes, WordNet and portions of a data set.
NO_SOURCE = re.compile(
    rf"\D*|\d\d?|\d{{3}}[A-Z_]\w{{4}}|(?:19|20)\d\d(?:[-_. ]?\d\d?){{0,2}}|\d+x\d+|n\d{{8}}\W?.*|.*{PORTION}[-_ ]?\d+",
    re.IGNORECASE,
)


class Layout(NamedTuple):
    """What a form says of all names that have it."""

    shape: str  # the form up to the first mark behind the key, with one character for each word
    start: int  # of the key
    end: int  # of the part that the key is in, where the first mark is
    numbered: list[tuple[int, int]]  # start and end of the words with a number between these


def keys(paths: pd.Series, classes: pd.Series) -> pd.DataFrame:
    """Returns the keys of images, of a folder below the class folder or else of the name, by the index of paths.

    The columns are before, key and after (parts of the text that was read), class, shape, and rest, what the text about
    the key tells of: a member, as a mark in it says; none; or other, which may be one.
    """
    parts = pd.DataFrame(map(_parts, paths.tolist(), classes.tolist()), paths.index, ["folder", "name"])
    has_folder = parts["folder"] != ""
    folders = _read(parts["folder"][has_folder], classes[has_folder])
    folders = folders[folders["varies"]].assign(rest="member")
    others = paths.index.difference(folders.index, sort=False)
    return pd.concat([folders, _read(parts["name"][others], classes[others])]).drop(columns="varies")


def _parts(path: str, class_name: str) -> tuple[str, str]:
    """Returns the first folder below the class folder that may be a source, or an empty text, and the file's name."""
    *folders, name = path.split("/")
    match = ".rf." in name and groups.ROBOFLOW.search(name)
    stem = match[1] if match else name.rpartition(".")[0] or name
    below = folders[folders.index(class_name) + 1 :] if class_name in folders else folders
    for folder, content in pairwise([*below, stem]):
        if not NO_SOURCE.fullmatch(folder) and not content.startswith(folder):  # or it is a bucket of such names
            return folder, stem
    return "", stem


def _read(texts: pd.Series, classes: pd.Series) -> pd.DataFrame:
    """Returns the columns of keys, and whether the key ends with a number that varies within a class."""
    layouts: dict[str, Layout] = {}
    first: dict[tuple[str, str], list[str]] = {}
    forms, varying = [], set()
    for text, class_name in zip(texts.tolist(), classes.tolist(), strict=True):
        form = MARK.sub(lambda x: CHARACTERS[(x.lastindex or 1) - 1] * len(x[0]), text.translate(LOWER)).translate(
            PLAIN
        )
        layout = layouts.get(form) or layouts.setdefault(form, _layout(form))
        forms.append(form)
        numbers = [text[start:end] for start, end in layout.numbered]
        known = first.setdefault((class_name, layout.shape), numbers)
        place = next((n for n, number in enumerate(numbers) if number != known[n]), None)
        if place is not None:
            varying.add((layout.shape, place))
    rows = []
    for text, form in zip(texts.tolist(), forms, strict=True):
        shape, start, end, numbered = layouts[form]
        stop = next((stop for n, (_, stop) in enumerate(numbered) if (shape, n) in varying), None)
        key = text[start : stop or end].rstrip("-_. (")
        after = start + len(key)
        rest = "other" if text != key and "T" not in form[after:] else "none"
        rest = "member" if "|" in shape else rest
        rows.append((text[:start], key, text[after:], shape, rest, stop is not None))
    columns = ["before", "key", "after", "shape", "rest", "varies"]
    return pd.DataFrame(rows, texts.index, columns).assign(**{"class": classes})


def _layout(form: str) -> Layout:
    """Finds where the key of names of a form may be."""
    start = len(form) - len(form.lstrip("|>-_. "))
    mark = form.find("|", start)
    end = mark if mark >= 0 else len(form)
    words = WORD.sub("a", NUMBERED.sub("0", form[start:end]))
    # A letter after a number tells members apart, as in 12a and 12b.
    numbered = [(x.start(), x.end() - x[0].endswith("0a")) for x in NUMBERED.finditer(form, start, end)]
    return Layout(form[: min(start, 1)] + words + form[end : end + 1], start, end, numbered)
