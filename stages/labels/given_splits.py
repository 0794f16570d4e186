"""Splits that come with a folder of images: sub-folders such as train, valid and test, in whatever case and order."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from stages.common.cli import UserError, enumeration
from stages.common.dataset import SPLITS

NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("validation", "validate", "valid", "val", "dev", "development", "eval", "evaluation"), "validation"
    ),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}  # word: split
EVALUATION = {"eval", "evaluation"}  # is the test split beside another one for validation, if there is no test
FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "folder"}


@dataclass(frozen=True)
class Layout:
    """Where classes and splits stand in the paths of a folder.

    Attributes:
        inner: of each path, what follows the folders around everything and that of the split: CLASS/FILE, or FILE for
            a file that is in no class folder; empty for a file beside the folders of the splits.
        splits: of each path, train, validation or test; empty where no split is given.
        root: the lone folders around everything, with a `/` at the end, or empty.
        folders: from the name of each folder that is a split to that split; empty without given splits.
        beside: other folders, and files of classes, which are left out if there are given splits.
    """

    inner: list[str]
    splits: list[str]
    root: str
    folders: dict[str, str]
    beside: list[str]


def find(paths: Sequence[str]) -> Layout:
    """Finds folders around everything (of a zip archive, say) and splits, outside (train/cat) or inside (cat/train).

    Args:
        paths: of files, with `/`.
    """
    inner, root = list(paths), ""
    while top := _lone_folder(inner):
        inner = [_below(top, path) for path in inner]
        root += f"{top}/"
    folders = named_splits(_folders(inner))
    if folders:
        return _split_outside(inner, root, folders)
    folders = {name: split for held in _held(inner).values() for name, split in named_splits(held).items()}
    if folders:
        return _split_inside(inner, root, folders)
    return Layout(inner, [""] * len(inner), root, {}, [])


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that stand for a split without further words, such as "Training set": from name to split."""
    words = {name: _words(name) for name in set(names)}
    return _by_word({name: known[0] for name, (known, rest) in words.items() if len(known) == 1 and not rest})


def named_splits(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that stand for splits, if one is for training and another is not: from name to split.

    A name may have a word of the data set in it, if all have the same (seg_train and seg_test, but not "train station"
    and "test tube"), and numbers.
    """
    candidates: dict[tuple[str, ...], dict[str, str]] = collections.defaultdict(dict)
    for name in sorted(names):
        known, rest = _words(name)
        if len(known) == 1:
            candidates[rest][name] = known[0]
    for words in candidates.values():
        found = _by_word(words)
        if "train" in found.values() and len(set(found.values())) > 1:
            return found
    return {}


def _by_word(words: Mapping[str, str]) -> dict[str, str]:
    """Returns the split of each name, from the word in it that is one of NAMES."""
    found = {name: NAMES[word] for name, word in words.items()}
    last = [name for name, word in words.items() if word in EVALUATION]
    if "test" not in found.values() and len(last) < list(found.values()).count("validation"):
        found |= dict.fromkeys(last, "test")
    return found


def _words(name: str) -> tuple[list[str], tuple[str, ...]]:
    """Returns the words of a name that stand for a split, and the others, without FILLERS and numbers."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    words = [re.sub(r"(?<=.)(set|data|images)$", "", word.casefold()) for word in words]
    return [word for word in words if word in NAMES], tuple(x for x in words if x not in FILLERS and x not in NAMES)


def describe(layout: Layout, given: set[str]) -> str:
    """Says in a line which folders are used as which split, and which are left out.

    Args:
        layout: with splits.
        given: the splits of the images that can be used: those of contests have no labels for test.
    """
    folders = {name: split for name, split in layout.folders.items() if split in given}
    used = [f"{name} is {', '.join(map(repr, names))}" for name in SPLITS if (names := _of_split(folders, name))]
    missing = [name for name in SPLITS if name not in given]
    cut = f"; {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} cut from train" if missing else ""
    others = sorted({*layout.beside, *layout.folders} - folders.keys())
    beside = f"; {enumeration(list(map(repr, others)), 5)} beside them: left out" if others else ""
    return f"The folders are splits: {', '.join(used)}{cut}{beside}."


def refuse_other_splits(layout: Layout) -> None:
    """Refuses folders that look like splits where none was found.

    Raises:
        UserError: all are named like splits, and none is for training; or one is, and all hold the same folders.
    """
    names = _folders(layout.inner)
    known = splits_of(names)
    if layout.folders or not known:
        return
    listed = enumeration(sorted(map(repr, names)))
    if known.keys() == names and len(set(known.values())) > 1:
        raise UserError(
            f"the folders {listed} are named like splits, but none is for training. Add a folder train, or rename them "
            "if they are classes."
        )
    common = set.intersection(*_held(layout.inner).values())
    if len(names) > 1 and len(common) > 1:
        raise UserError(
            f"the folders {listed} look like splits: all hold {enumeration(sorted(map(repr, common)), 3)}. Name them "
            f"train, validation and test; or rename {enumeration(sorted(map(repr, known)))}, where that is a class."
        )


def require_labels(layout: Layout, folder: str) -> None:
    """Checks that every given split has class folders of the training split, and that every class is divided.

    Raises:
        UserError: a split has none, as contests hand out their test images; or a class is not divided.
    """
    given = list(zip(layout.inner, layout.splits, strict=True))
    divided = _folders(path for path, split in given if split)
    if whole := sorted(map(repr, _folders(layout.inner) - divided)):
        raise UserError(
            f"{folder}: {enumeration(whole)} is not divided into splits, as other folders are. Divide it, move it out "
            f"of {folder}, or set data.split to random, which divides the images of all classes anew."
        )
    classes = {path.split("/")[0] for path, split in given if split == "train"}
    for name in SPLITS:
        paths = [path for path, split in given if split == name]
        if not paths or any("/" in path and (name == "train" or path.split("/")[0] in classes) for path in paths):
            continue
        names = " and ".join(map(repr, _of_split(layout.folders, name)))
        if name == "train":
            raise UserError(
                f"{folder}: {names} is a split, but has {len(paths)} files without a class folder. Sort them into one "
                "sub-folder per class, or set data.labels or data.label_pattern."
            )
        raise UserError(
            f"{folder}: {names} is the {name} split, but has {len(paths)} images without a class folder of train, so "
            "nothing can be measured on them. Sort them into the same class folders as those of train, or move "
            f"{names} out of {folder}: {name} is then cut from train; or set data.split to random, which divides the "
            "images that have a class folder anew."
        )


def _split_outside(inner: list[str], root: str, folders: dict[str, str]) -> Layout:
    """Returns the layout SPLIT/CLASS/FILE. Further lone folders inside a split's, such as images, are passed over."""
    tops = [path.split("/")[0] if "/" in path else "" for path in inner]
    splits = [folders.get(top, "") for top in tops]
    rest = [_below(top, path) if split else "" for top, path, split in zip(tops, inner, splits, strict=True)]
    classes: set[str] = set()
    for name in sorted(folders, key=lambda name: folders[name] != "train"):
        rows = [row for row, top in enumerate(tops) if top == name]
        while (lone := _lone_folder([rest[row] for row in rows])) and lone not in classes:
            for row in rows:
                rest[row] = _below(lone, rest[row]) or rest[row].rpartition("/")[2]
        found = _folders(rest[row] for row in rows)
        if folders[name] == "train":
            classes |= found
        elif len(found) == 1 and not found & classes:  # a folder of images without labels
            for row in rows:
                rest[row] = rest[row].rpartition("/")[2]
    return Layout(rest, splits, root, folders, sorted(set(tops) - {*folders, ""}))


def _split_inside(inner: list[str], root: str, folders: dict[str, str]) -> Layout:
    """Returns the layout CLASS/SPLIT/FILE."""
    splits, beside = [], set()
    for row, path in enumerate(inner):
        parts = path.split("/")
        splits.append(folders.get(parts[1], "") if len(parts) > 2 else "")
        if splits[row]:
            inner[row] = "/".join([parts[0], *parts[2:]])
        elif len(parts) > 1:
            beside.add(parts[1] if len(parts) > 2 else path)
    return Layout(inner, splits, root, folders, sorted(beside))


def _lone_folder(paths: Sequence[str]) -> str:
    """Returns the one folder that all others lie in; empty if there is none, or if it has images itself."""
    folders = _folders(paths)
    if len(folders) != 1:
        return ""
    [top] = folders
    inside = [PurePosixPath(_below(top, path)) for path in paths if "/" in path]
    direct, deep = ({path.suffix.lower() for path in inside if (len(path.parts) > 1) == far} for far in (False, True))
    return top if deep and not direct & deep else ""


def _folders(paths: Iterable[str]) -> set[str]:
    return {path.split("/")[0] for path in paths if "/" in path}


def _held(paths: Iterable[str]) -> dict[str, set[str]]:
    """Returns the folders directly in each folder."""
    held: dict[str, set[str]] = {}
    for top, _, below in (path.partition("/") for path in paths):
        if below:
            held.setdefault(top, set()).update(_folders([below]))
    return held


def _below(folder: str, path: str) -> str:
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else ""


def _of_split(folders: dict[str, str], split: str) -> list[str]:
    return sorted(name for name, of in folders.items() if of == split)
