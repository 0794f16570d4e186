"""Classes: which labels are used, and whether they are classes at all."""

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal

from stages.common import params
from stages.common.cli import UserError, counted, enumeration
from stages.labels.files import ImageFile, Labelled
from stages.labels.table_columns import SEVERAL

# Names, without blanks and signs, for images that nobody has labelled: datumaro's no_label, FiftyOne's _unlabeled, ...
UNLABELLED = {"unknown", "unannotated", "unclassified", "uncategorized", "uncategorised", "unsorted", "untagged"}
UNLABELLED |= {f"{word}{end}" for word in ("unlabel", "notlabel") for end in ("ed", "led")}
UNLABELLED |= {"nolabel", "nolabels", "nolabelled", "tolabel", "tobelabeled", "tobelabelled", "withoutlabel"}
UNLABELLED |= {"noclass", "notannotated", "noannotation", "noannotations", "unassigned", "undefined", "unreviewed"}
UNLABELLED |= {"unlabeledimages", "unlabelledimages", "unlabeleddata", "unlabelleddata", "unidentified", "skipped"}
UNLABELLED |= {"nan", "null"}  # what programs write for no value
MOST_NAMED = 20  # classes that are named one by one
MOST_NUMBERS = 20  # labels that are different numbers, above which they count as quantities


def choose(
    labelled: Labelled,
    names: Collection[str],
    all_needed: bool = True,
    new: Collection[str] = (),
    correct: Callable[[list[ImageFile]], Mapping[str, str]] = lambda images: {},
) -> Labelled:
    """Leaves out the images of other classes than data.classes; without it, those that have a name for no label.

    `correct` returns the right classes of such images by path, as far as somebody has named them: if a right class is
    used, its images stay, without a class until corrections are applied. `new` are the classes that corrections add.

    Raises:
        UserError: no image has one of the names, and all of them are needed.
    """
    counts = collections.Counter(image.class_name for image in labelled.images if image.class_name)
    if all_needed and (missing := sorted({*names} - counts.keys() - {*new})):
        raise UserError(
            f"data.classes names {enumeration(list(map(repr, missing)))}, but no image has that label; there are "
            f"{enumeration(sorted(map(repr, counts))) or 'none'}. Empty, [], it takes all."
        )
    others = counts.keys() - {"-1"}
    # -1 is no label, unless other labels are negative, or there is one other.
    numbered = len(others) > 1 and not any(re.fullmatch(r"-\d+", name) for name in others)
    used = {name for name in counts if not (_is_unlabelled(name) or numbered and name == "-1")}
    if not (unused := sorted(counts.keys() - {*(names or used)})):
        return labelled
    left_out = [image for image in labelled.images if image.class_name in unused]
    right = {path for path, name in correct(left_out).items() if (name in names if names else name not in unused)}
    left_out = [image for image in left_out if image.path not in right]
    counts = collections.Counter(image.class_name for image in left_out)
    images = [dataclasses.replace(x, class_name="") if x.path in right else x for x in labelled.images]
    images = [image for image in images if image.class_name not in unused]
    labelled = dataclasses.replace(labelled, images=images, left_out=left_out)
    if not left_out:
        return labelled
    listed = enumeration([f"{name!r} ({counted(count, 'image')})" for name, count in sorted(counts.items())], 10)
    note = f"Left out, because data.classes does not name them: {listed}."
    if not names:
        keep = ",".join(map(_quoted, [*sorted(used), *sorted(counts)])) if len(used) <= MOST_NAMED else "ALL,OF,THEM"
        note = f"WARNING: left out as unlabelled: {listed}. To keep it as a class, data.classes names all: [{keep}]."
    return dataclasses.replace(labelled, notes=[*labelled.notes, note])


def check(images: list[ImageFile], labelled: Labelled, data: params.Data, fewest: int) -> None:
    """Checks the classes of the images that are left of those that have been labelled.

    Raises:
        UserError: there are fewer than `fewest`, or one is not UTF-8; or labels are numbers or several words each, and
            data.classes does not say that they are classes.
    """
    names, source = of(images), labelled.source
    if len(names) < fewest:
        found = f"only {names[0]!r}" if names else "none"
        left_out = " ".join(note.removeprefix("WARNING: ") for note in labelled.notes if "eft out" in note)
        if source:
            text = f"{source} must give the images of {data.images} at least two classes, but has {found}."
        else:
            text = (
                f"{data.images} needs at least two sub-folders with images in them, one per class, but has {found}. "
                "Labels in a table go into data.labels."
            )
        raise UserError(f"{text} {left_out}".rstrip())
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise UserError(
                f"{source or data.images} has a class {name!r}: the name of a class must be UTF-8. Rename it."
            )
    keep = "If these are names of classes, list all in data.classes."
    if not data.classes and source and (example := _several_labels(names)):
        raise UserError(f"{source} has labels such as {example!r}: {SEVERAL}. {keep}")
    if not data.classes and source and _are_quantities(names, len(images)):
        raise UserError(
            f"{source} has {len(names)} different numbers as labels, such as {names[0]!r}: each would be a class. "
            f"Estimating numbers (regression) is not supported. {keep}"
        )


def of(images: Iterable[ImageFile]) -> list[str]:
    """Returns the classes of images, sorted."""
    return sorted({image.class_name for image in images if image.class_name})


def warn(names: list[str]) -> list[str]:
    """Warns, a line each, of classes whose names are nearly the same."""
    same: dict[str, list[str]] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if re.fullmatch(r"[+-]?\d+(\.\d*)?", plain, re.ASCII):
            plain = str(Decimal(plain).normalize())
        same.setdefault(plain, []).append(name)
    return [
        f"WARNING: the classes {' and '.join(map(ascii, alike))} differ only by case, Unicode form, blanks or the way "
        "a number is written. If they are the same, give them one name."
        for alike in same.values()
        if len(alike) > 1
    ]


def _is_unlabelled(name: str) -> bool:
    return re.sub(r"[\W_]+", "", name).casefold() in UNLABELLED


def _quoted(name: str) -> str:
    """Returns a name as YAML has it in a list."""
    return name if re.fullmatch(r"[\w.-]+( [\w.-]+)*", name) else "'" + name.replace("'", "''") + "'"


def _several_labels(names: list[str]) -> str:
    """Returns a label that is a list of several, such as tags; empty if none is.

    The words of labels are tags if fewer words than labels make them up, and not always the same number of words.
    """
    for separator in (",", ";", "|", " "):
        words = [[word.strip() for word in name.split(separator)] for name in names]
        composed = [name for name, parts in zip(names, words, strict=True) if len(parts) > 1]
        different = {word for parts in words for word in parts}
        # Words with blanks between them may be names of classes, such as "ripe apple" beside "apple".
        fewer = 2 * len(different) < len(names) if separator == " " else len(different) < len(names)
        if composed and fewer and len({*map(len, words)}) > 1:
            return composed[0]
    return ""


def _are_quantities(names: list[str], images: int) -> bool:
    """Tells whether labels are measured numbers, and no classes that are called by numbers."""
    try:
        values = [float(name) for name in names]
    except ValueError:
        return False
    many = len(values) > MOST_NUMBERS
    return many and any(value % 1 for value in values) or many and images < 3 * len(values)
