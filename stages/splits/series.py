"""Series of images of one source, found in file names: frames, windows, versions, bursts, slices of a patient.

A name is read as fields. The key of a series is the part up to the first number that varies within a class, and the
rest must look like a member of it: an index, coordinates, a word for a version. A key without such a number, a year,
a date or a WordNet id may be a sub-class, so the rest must then say what it is: frame_0001, x80_y60, flip.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from stages.common import params
from stages.common.cli import printable
from stages.splits import groups
from stages.splits.pack import Manifest

FEWEST = 5  # number of groups of a class, at least, for a division that is worth something
SHAPES = 4  # maximum number of alternatives in a pattern
TIME = r"(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?:[-_ .T]|[ _]at[ _])?[0-2]\d[-_.:h]?[0-5]\d(?:[-_.:m]?[0-5]\d)?\d*"
DATE = r"(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HASH = r"(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{8,}(?![^\W_])"
CODE = r"(?!\d+h\d+m)(?=[^\W_]{8})\d*(?:[^\W\d_]+\d+){2,}[^\W\d_]+\d*(?![^\W_])"  # three words, such as dQw4w9WgXcQ
FIELD = re.compile(
    rf"(?P<id>(?<!\d)(?:{TIME})|(?<![^\W_])(?:{UUID}|{HASH}|{CODE})|burst\d{{9,}}|\d{{9,}})|(?P<date>(?<!\d){DATE})"
    r"|(?P<named>[^\W\d_]+\d+)|(?P<number>\d+)|(?P<text>[^\W\d_]+)",
    re.IGNORECASE,
)
# Words before the number of a member, for a version of an image, and before numbers that begin a name.
INDEX = re.compile(
    r"(key)?frames?|frm|slices?|slc|tiles?|patch(es)?|crop|win(dow)?|views?|shot|chip|chunk|block|cell|roi|burst|snap"
    r"|rows?|cols?|columns?|still|angle|pose|step|layer|band|stack|section|copy|ver(sion)?|variant|page",
    re.IGNORECASE,
)
CHANGED = re.compile(
    r"(horizontal(ly)?|vertical(ly)?|[hvlrud]*)_?flip\w*|flop|mirror\w*|rot(ate\w*|ation)?|aug(mented|mentation)?|dark\w*"
    r"|bright\w*|blur\w*|nois[ey]|contrast|crop(ped)?|copy|edit(ed)?|resized?|scaled?|zoom(ed)?|shear\w*|shift\w*"
    r"|gr[ae]y\w*|original|cover|sharp\w*|satur\w*|hue|jitter\w*|transl\w*|transf\w*|gamma|invert\w*|cutout|elastic|warp\w*",
    re.IGNORECASE,
)
IMAGE = re.compile(r"im|ima?ge?s?|photos?|pics?|pictures?", re.IGNORECASE)
PART = re.compile(
    r"[a-z]|cam(era)?|scan|visit|ses(sion)?|day|time|run|trial|take|series|study|eye|level|fov|left|right|front|back|side"
    r"|top|bottom",
    re.IGNORECASE,
)
PORTION = re.compile(
    r"(train|test|val)?(part|batch|fold|set|split|chunk|shard|dis[ck]|vol(ume)?|v|level|class|label)", re.IGNORECASE
)
PLACE = re.compile(r"(?<![^\W_])(x_?\d+[_-]?y|y_?\d+[_-]?x|r_?\d+[_-]?c|c_?\d+[_-]?r)_?\d+(?![^\W_])", re.IGNORECASE)
# The rest of a name after an image's name in it, as of Augmentor (NAME.jpg_UUID.jpg).
COPY = re.compile(rf"[_.](?:{groups.EXTENSIONS})[_.-](?=.*\d)", re.IGNORECASE)
# Numbers that make no source: of years, WordNet, folders of cameras and portions of a data set.
NO_KEY = re.compile(r"(19|20)\d\d|n\d{8}", re.IGNORECASE)
NO_SOURCE = re.compile(
    r"\d{3}[A-Z_]\w{4}|(19|20)\d\d([-_. ]?\d\d?){0,2}|\d\d?|\d+x\d+|n\d{8}\W?.*"
    r"|.*(part|batch|fold|set|split|chunk|shard|dis[ck]|vol(ume)?|version|v|images?|level|class|label|size)[-_ ]?\d+",
    re.IGNORECASE,
)


DATED = re.compile(r"(?:19|20)\d\d")
NUMBER = re.compile(r"\d+")
DIGITS = str.maketrans("123456789", "000000000")


class Field(NamedTuple):
    """A field of a name: its kind is a group of FIELD."""

    kind: str
    start: int
    end: int
    text: str
    word: str
    is_sure: bool  # whether it says that the name is of a member


class Key(NamedTuple):
    """The key of an image, text[start:end] of a part of its path, and what the rest says."""

    text: str
    start: int
    end: int
    rest: str  # sure, plain or bare

    @property
    def name(self) -> str:
        return self.text[self.start : self.end]


def notes(manifest: Manifest, split: pd.Series, data: params.Data) -> list[str]:
    """Says in a line how many test images share a series with train, and which data.group_pattern keeps it together."""
    keys = find(manifest["path"], manifest["class"])
    names = pd.Series({row: key.name for row, key in keys.items()}, manifest.index, dtype=object).fillna("")
    series = pd.Series(
        [(c, name) if name else None for c, name in zip(manifest["class"], names, strict=True)], names.index
    )
    shared = (split == "test") & series.isin(set(series[split == "train"].dropna()))
    if not shared.any():
        return []
    example = printable(manifest["path"][shared].iloc[0])
    text = (
        f"WARNING: file names form {series.nunique()} series, such as {printable(names[shared].iloc[0])} of {example}: "
        f"{shared.sum()} of {(split == 'test').sum()} test images share one with train, so the score may flatter. "
    )
    pattern = suggest(manifest["path"], manifest["class"], keys)
    if not pattern:
        return [f"{text}A column group in a table of labels keeps each series in one split."]
    values = groups.by_pattern(manifest["path"], pattern)
    mixed = (manifest["class"].groupby(values[values != ""]).nunique() > 1).sum()
    anew = " -S data.split=random" if manifest["split"].any() else ""
    return [
        f"{text}This keeps each in one split: -S \"data.group_pattern='{pattern}'\"{anew}"
        + (f" ({mixed} of its groups hold images of several classes)" if mixed else "")
    ]


def find(paths: pd.Series, classes: pd.Series) -> dict[int, Key]:
    """Returns the keys of the images that are in series of two or more, by their index."""
    keys, class_of = _keys(paths, classes), dict(zip(classes.index.tolist(), classes.tolist(), strict=True))
    members = defaultdict(list)
    for row, key in keys.items():
        members[class_of[row], key.name].append(row)
    trusted = _trusted(keys, members)
    found = defaultdict(list)
    for (class_name, _), rows in members.items():
        rests = {(keys[row].rest, keys[row].rest == "plain" and keys[row].text.translate(DIGITS)) for row in rows}
        if len(rows) > 1 and any(rest == "sure" or form in trusted for rest, form in rests):
            found[class_name].append(rows)
    return {row: keys[row] for series in found.values() if len(series) > 1 for rows in series for row in rows}


def _trusted(keys: dict[int, Key], members: dict[tuple[str, str], list[int]]) -> set[str]:
    """Returns the forms of names in which an index, which says little, counts members of a series.

    Most of such names must have company, or the numbers are no indices; and if there are few keys, numbers must begin
    anew with each: otherwise they count images, and the key may be a batch of them.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    rests, names = defaultdict(set), defaultdict(set)
    for (class_name, name), rows in members.items():
        for row in rows:
            if keys[row].rest == "plain":
                shape = keys[row].text.translate(DIGITS)
                counts[shape][len(rows) > 1] += 1
                rests[shape].add((class_name, keys[row].text[keys[row].end :]))
                names[shape].add((class_name, name))
    return {
        shape
        for shape, (alone, together) in counts.items()
        if together > alone
        and (
            len(rests[shape]) < alone + together
            or len({c for c, _ in names[shape]}) * together < len(names[shape]) ** 2
        )
    }


def _keys(paths: pd.Series, classes: pd.Series) -> dict[int, Key]:
    """Reads the key of each image out of the first part of its path, below the class folder, that has one."""
    # Names with the same letters, and dates, are read once.
    read: dict[str, tuple[list[Field], str]] = {}
    parts: dict[int, list[tuple[int, str, str]]] = {}
    first: dict[tuple[int, str, int, str], str] = {}
    varying = set()
    for row, path, class_name in zip(paths.index.tolist(), paths.tolist(), classes.tolist(), strict=True):
        parts[row] = []
        for depth, text in _parts(path, class_name):
            mask = _mask(text)
            if mask not in read:
                read[mask] = _fields(mask)
            parts[row].append((depth, text, mask))
            fields, form = read[mask]
            for place, field in enumerate(fields):
                if field.kind != "text" and (depth, form, place) not in varying:
                    value = text[field.start : field.end]
                    if first.setdefault((depth, form, place, class_name), value) != value:
                        varying.add((depth, form, place))
    found: dict[int, Key] = {}
    spans: dict[tuple[int, str], Key | None] = {}
    for row, candidates in parts.items():
        for depth, text, mask in candidates:
            if (depth, mask) not in spans:
                fields, form = read[mask]
                key = _key(mask, fields, [(depth, form, n) in varying for n in range(len(fields))])
                spans[depth, mask] = key
                if depth >= 0:  # all images of a folder belong together, if its number is a source's
                    is_source = any((depth, form, n) in varying for n in range(len(fields)))
                    spans[depth, mask] = key._replace(rest="sure") if is_source else None
            if span := spans[depth, mask]:
                found[row] = Key(text, span.start, span.end, span.rest)
                break
    return found


def _parts(path: str, class_name: str) -> list[tuple[int, str]]:
    """Returns the parts of a path, below the class folder, that may name a source, with their depth; a name's is -1."""
    *folders, name = path.split("/")
    if class_name in folders:
        folders = folders[folders.index(class_name) + 1 :]
    match = ".rf." in name and groups.ROBOFLOW.search(name)
    stem = match[1] if match else name.rpartition(".")[0] or name
    below = [*folders[1:], stem]  # a folder that a name below begins with is a bucket of names
    sources = [
        (depth, folder)
        for depth, folder in enumerate(folders)
        if not NO_SOURCE.fullmatch(folder) and not below[depth].startswith(folder)
    ]
    return [*sources, (-1, stem)]


def _mask(text: str) -> str:
    """Returns a text with zeros in place of all digits, unless it may have a date, or a year."""
    return text if DATED.search(text) else text.translate(DIGITS)


def _fields(text: str) -> tuple[list[Field], str]:
    """Splits a name into fields; also returns their kinds, as one text."""
    copy = COPY.search(text)
    place = PLACE.search(text)
    matches = list(FIELD.finditer(text, 0, copy.start() if copy else len(text)))
    fields = []
    for match, following in zip(matches, [*matches[1:], None], strict=False):
        kind, word = str(match.lastgroup), re.sub(r"\d+$", "", match[0])
        numbered = kind == "named" or kind == "text" and following and following.lastgroup == "number"
        is_sure = kind in ("named", "text") and bool(
            CHANGED.fullmatch(word)
            or numbered
            and INDEX.fullmatch(word)
            or place
            and place.start() <= match.start() < place.end()
        )
        fields.append(Field(kind, match.start(), match.end(), match[0], word, is_sure))
    return fields, " ".join(field.word if field.is_sure else field.kind for field in fields)


def _key(text: str, fields: list[Field], varying: list[bool]) -> Key:
    """Finds the key of a series in a name; a name that tells of none is its own key."""
    whole = Key(text, 0, len(text), "bare")
    first = _lead(fields, varying)
    if first is None:
        return whole
    lead = fields[first].start
    if fields[first].kind == "id" and fields[first].word.lower() == "burst":
        return Key(text, lead, fields[first].end, "sure")
    copy = COPY.search(text)
    places = range(first, len(fields))
    number = next((n for n in places if varying[n] and (n == first or _is_number(fields, n))), None)
    from_ = (number or first) if copy else first
    sure = next((n for n in range(from_ + 1, len(fields)) if fields[n].is_sure), len(fields) if copy else None)
    if number is not None and fields[number].kind != "date" and not NO_KEY.fullmatch(fields[number].text):
        rest = fields[number + 1 : sure]
        if not any(field.kind in ("id", "date") for field in rest) and (sure is None or number < sure):
            return Key(
                text,
                lead,
                fields[number].end,
                "plain" if rest and sure is None and not first else "sure" if sure is not None or first else "bare",
            )
    if sure is None:
        return whole._replace(start=lead, rest="sure" if first else "bare")
    return Key(text, lead, fields[sure - 1].end, "sure")


def _lead(fields: list[Field], varying: list[bool]) -> int | None:
    """Returns the place where the key begins, after what may precede it: a member's number, a word for a version."""
    if not fields:
        return None
    bursts = [n for n, field in enumerate(fields) if field.kind == "id" and field.word.lower() == "burst"]
    if bursts:
        return bursts[0]
    head, kinds = fields[0], [field.kind for field in fields]
    if CHANGED.fullmatch(head.word) and set(kinds[1:]) - {"text"}:
        is_angle = head.word.lower().startswith("rot") and kinds[1] == "number"
        is_count = kinds[1:3] == ["number", "named"] or kinds[1:4] == ["number", "text", "number"]
        return 2 if len(fields) > 2 and (is_angle or is_count) else 1
    start = 1 if head.kind == "number" else 0
    while start < len(fields) and (fields[start].is_sure or not start and _numbers_images(head, kinds)):
        start += 2 if kinds[start] == "text" else 1
    if head.kind == "number" and any(_is_part(field) for field in fields[1:]):
        return 0
    named = (n for n in range(start, len(fields)) if kinds[n] == "named" and len(fields[n].word) > 1)
    return next((n for n in named if varying[n] and not fields[n].is_sure), 0) if start else 0


def _is_part(field: Field) -> bool:
    """Whether the number of a field counts parts of a source, as far as its word tells."""
    return bool(PART.fullmatch(field.word) or INDEX.fullmatch(field.word) or IMAGE.fullmatch(field.word))


def _numbers_images(head: Field, kinds: list[str]) -> bool:
    """Whether the first field of a name numbers images, as in img_001 or cam1."""
    is_word = IMAGE.fullmatch(head.word) or INDEX.fullmatch(head.word) or head.word.lower() in ("cam", "camera")
    return bool(is_word) and (head.kind == "named" or kinds[:2] == ["text", "number"])


def _is_number(fields: list[Field], place: int) -> bool:
    """Whether a field has a number, and not that of a member."""
    field = fields[place]
    after = place and fields[place - 1].kind == "text" and fields[place - 1].is_sure and field.kind == "number"
    owner = fields[place - 1] if place and field.kind == "number" else field
    return not (field.kind == "text" or field.is_sure or after or PORTION.fullmatch(owner.word))


def suggest(paths: pd.Series, classes: pd.Series, keys: dict[int, Key]) -> str:
    """Returns a pattern that puts each series in one group on these very paths, or an empty text.

    Series with the same key in several classes are one group, unless that leaves a class too few groups to divide.
    """
    found = {False: "", True: ""}
    for with_class in found:
        names = pd.Series({row: key.name for row, key in keys.items()})
        wanted = classes[names.index] + "/" + names if with_class else names
        for exactly in (True, False):
            for pattern in _patterns(paths, list(keys.values()), with_class):
                if _reproduces(pattern, paths, wanted, exactly):
                    found[with_class] = pattern
                    break
            if found[with_class]:
                break
        if found[with_class] and not with_class:
            values = groups.by_pattern(paths, found[False])
            count = values.mask(values == "", paths).groupby(classes).nunique().min()
            if count >= FEWEST:
                break
    return found[True] or found[False]


def _reproduces(pattern: str, paths: pd.Series, wanted: pd.Series, exactly: bool) -> bool:
    """Whether the groups of a pattern are the wanted ones; or, if not exactly, hold them whole."""
    for sample in (wanted.iloc[:: max(1, len(wanted) // 500)], wanted):
        values = groups.by_pattern(paths[sample.index], pattern)
        if (values == "").any() or (values.groupby(sample).nunique() > 1).any():
            return False
        if values.nunique() == 1 or exactly and sample.nunique() > values.nunique():
            return False
    others = groups.by_pattern(paths.drop(wanted.index), pattern)
    others = others[others != ""]
    return not exactly or not (set(others) & set(values) or others.duplicated().any())


def _patterns(paths: pd.Series, keys: list[Key], with_class: bool) -> Iterator[str]:
    """Yields patterns that may find the keys, the plainest first."""
    start = "/" if paths.str.contains("/").all() else "(?:^|/)"
    anchors = ["([^/]+/", "(.*/"] if with_class else ["(", f"{start}(", "^.*/("]
    texts = {(key.text[: key.start], key.name, key.text[key.end :]) for key in keys}
    masked = {tuple(part.translate(DIGITS) for part in text) for text in texts}
    distinct = list({tuple(NUMBER.sub("0", part) for part in text) for text in masked})
    leads = sorted({_shape(lead) for lead in {lead for lead, _, _ in distinct}}, key=len, reverse=True)
    lead = ("(?:" + "|".join(leads) + ")") if any(leads) and len(leads) <= SHAPES else ""
    if lead and not with_class:
        anchors += [f"{start}{lead}(", f"^.*/{lead}("]
    bodies = []
    for shape in (_shape, _any_word):
        shapes = sorted({shape(name) for name in {name for _, name, _ in distinct}}, key=len, reverse=True)
        if len(shapes) <= SHAPES:
            bodies.append("|".join(shapes) if len(shapes) == 1 or not with_class else f"(?:{'|'.join(shapes)})")
    for body in bodies:
        yield from (f"{anchor}{body})" for anchor in anchors)
    words = sorted(
        {_shape(re.sub(r"^([\W_]*[^\W\d_]*).*", r"\1", rest)) for rest in {rest for *_, rest in distinct} if rest},
        key=len,
        reverse=True,
    )
    copies = sorted({re.escape(match[0]) for *_, rest in texts if (match := COPY.match(rest))})
    for marks in (copies, words):
        if marks and len(marks) <= 3 * SHAPES:
            dots = [re.escape(x) for x in sorted({"." + path.rpartition(".")[2] for path in paths[:1000]})]
            joined = "|".join([*marks, *dots])
            yield from (f"{anchor}[^/]+?)(?:{joined})" for anchor in anchors)
    for count in (1, 2, 3):
        yield from (f"{anchor}" + r"[^/\d]*\d+" * count + ")" for anchor in anchors)


def _shape(text: str) -> str:
    """Returns a regular expression for texts with other numbers; what a shell may take is any character."""
    escaped = re.sub(r"[^\w\s-]", lambda match: f"\\{match[0]}" if match[0] in ".()[]+" else ".", text)
    return NUMBER.sub(r"\\d+", escaped)


def _any_word(text: str) -> str:
    """Returns a regular expression for names like a text, with other numbers and words."""
    return re.sub(r"(?<!\\)[^\W\d_]+(?!\+)", lambda match: r"[^\W\d_]+", _shape(text))
