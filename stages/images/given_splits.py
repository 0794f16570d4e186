"""Splits that come with a folder of images: sub-folders such as train, valid and test, in whatever case and order."""

import collections
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from stages.common.cli import UserError, enumeration
from stages.common.dataset import SPLITS

NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("validation", "validate", "valid", "val", "dev", "development", "eval", "evaluation"), "validation"
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}  # word: split
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
        beside: the other folders, which are left out if there are given splits.
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

    Raises:
        UserError: all folders are named like splits, and none is for training.
    """
    inner, root = list(paths), ""
    while top := _lone_folder(inner):
        inner = [_below(top, path) for path in inner]
        root += f"{top}/"
    tops = _folders(inner)
    folders = named_splits(tops)
    if folders:
        return _split_outside(inner, root, folders)
    _require_training_split(tops)
    deep = [path for path in inner if "/" in path]
    seconds = _folders(path.partition("/")[2] for path in deep)
    folders = named_splits(seconds)
    if folders and seconds == set(folders) and all(path.count("/") > 1 for path in deep):
        parts = [path.split("/") for path in inner]
        splits = [folders[part[1]] if len(part) > 2 else "" for part in parts]
        inner = ["/".join([part[0], *part[2:]]) if len(part) > 2 else "" for part in parts]
        return Layout(inner, splits, root, folders, [])
    return Layout(inner, [""] * len(inner), root, {}, [])


def split_of(name: str) -> str | None:
    """Returns the split that a word stands for, in any case: "Training" is train. None if it stands for none."""
    return NAMES.get(name.strip().casefold())


def named_splits(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that stand for splits, if one is for training and another is not: from name to split.

    A name may have a word of the data set in it, if all have the same (seg_train and seg_test, but not "train station"
    and "test tube"), and numbers.
    """
    candidates: dict[tuple[str, ...], dict[str, str]] = collections.defaultdict(dict)
    for name in sorted(names):
        words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        words = [re.sub(r"(?<=.)(set|data|images)$", "", word.casefold()) for word in words]
        known = [word for word in words if word in NAMES]
        if len(known) == 1:
            rest = tuple(word for word in words if word not in FILLERS and word not in NAMES)
            candidates[rest][name] = NAMES[known[0]]
    for found in candidates.values():
        if "train" in found.values() and len(set(found.values())) > 1:
            return found
    return {}


def describe(layout: Layout) -> str:
    """Says in a line which folders are used as which split, and which are left out."""
    used = [f"{name} is {', '.join(map(repr, names))}" for name in SPLITS if (names := _of_split(layout.folders, name))]
    missing = [name for name in SPLITS if name not in layout.folders.values()]
    cut = f"; {missing[0]} is cut from train" if missing else ""
    beside = f"; {', '.join(map(repr, layout.beside))} beside them: left out" if layout.beside else ""
    return f"The folders are splits: {', '.join(used)}{cut}{beside}."


def require_labels(layout: Layout, folder: str) -> None:
    """Checks that every given split has class folders of the training split.

    Raises:
        UserError: one has none, as contests hand out their test images.
    """
    classes = {path.split("/")[0] for path, split in zip(layout.inner, layout.splits, strict=True) if split == "train"}
    for name in SPLITS:
        paths = [path for path, split in zip(layout.inner, layout.splits, strict=True) if split == name]
        if not paths or any("/" in path and (name == "train" or path.split("/")[0] in classes) for path in paths):
            continue
        names = " and ".join(map(repr, _of_split(layout.folders, name)))
        if name == "train":
            raise UserError(
                f"{folder}: {names} is a split, but has {len(paths)} files without a class folder. Sort them into one "
                "sub-folder per class, or set data.labels or data.label_pattern."
            )
        raise UserError(
            f"{folder}: {names} is the {name} split, but has {len(paths)} images without a class folder, so nothing "
            "can be measured on them. Sort them into the same class folders as those of train, or move "
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
        if folders[name] == "train":
            classes |= _folders(rest[row] for row in rows)
    return Layout(rest, splits, root, folders, sorted(set(tops) - {*folders, ""}))


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


def _below(folder: str, path: str) -> str:
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else ""


def _of_split(folders: dict[str, str], split: str) -> list[str]:
    return sorted(name for name, of in folders.items() if of == split)


def _require_training_split(names: set[str]) -> None:
    if len({split_of(name) for name in names} - {None}) > 1 and all(map(split_of, names)):
        raise UserError(
            f"the folders {enumeration(sorted(map(repr, names)))} are named like splits, but none is for training. Add "
            "a folder train, or rename them if they are classes."
        )
