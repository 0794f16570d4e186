"""Splits that come with a folder of images: sub-folders such as train, valid and test, in any case and order."""

import collections
import dataclasses
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from stages.common import params
from stages.common.cli import UserError, enumeration
from stages.common.dataset import SPLITS
from stages.labels.files import ImageFile, Labelled

# Words that stand for the test split beside another word for validation, if no word for test is there.
EVALUATION = ("eval", "evaluation")
# From word to split.
NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "development", *EVALUATION), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "folder"}


@dataclass(frozen=True)
class Layout:
    """Where classes and splits stand in the paths of a folder."""

    # From each path to what follows the folders around everything and that of the split: CLASS/FILE, or FILE for a file
    # that is in no class folder; empty for a file beside the folders of the splits.
    inner: dict[str, str]
    splits: dict[str, str]  # from the path of each file in a given split to train, validation or test
    root: str  # the lone folders around everything, with a `/` at the end; or empty
    folders: dict[str, str]  # from the name of each folder that is a split to that split; empty without given splits
    beside: set[str]  # folders that are no split, and files beside them; they are left out if splits are given


def find(files: Iterable[ImageFile]) -> Layout:
    """Finds folders around everything (of a zip archive, say) and splits, outside (train/cat) or inside (cat/train)."""
    inner, root = {file.path: file.path for file in files}, ""
    while top := _lone_folder(inner.values()):
        inner = {path: rest.partition("/")[2] for path, rest in inner.items()}
        root += f"{top}/"
    if outside := named_splits(_folders(inner.values())):
        return _split_outside(inner, root, outside)
    inside: dict[str, str] = {}
    for held in _held(inner.values()):
        inside |= named_splits(held)
    return _split_inside(inner, root, inside)


def add(labelled: Labelled, layout: Layout, data: params.Data) -> Labelled:
    """Adds the splits that folders give, and a note that says which folders are used as which split.

    The note names a split only if some of its images can be used: the test images of contests have no labels.
    """
    if not layout.folders or data.split == "random":
        return labelled
    images = [dataclasses.replace(image, split=layout.splits.get(image.path, "")) for image in labelled.images]
    given = {image.split for image in images if not image.problem}
    used = [f"{name} is {', '.join(map(repr, _of_split(layout, name)))}" for name in SPLITS if name in given]
    missing = [name for name in SPLITS if name not in given]
    cut = f"; {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} cut from train" if missing else ""
    others = sorted(layout.beside | {name for name, split in layout.folders.items() if split not in given})
    beside = f"; {enumeration(list(map(repr, others)), 5)} beside them: left out" if others else ""
    note = f"The folders are splits: {', '.join(used)}{cut}{beside}."
    return dataclasses.replace(labelled, images=images, notes=[*labelled.notes, note], has_splits=True)


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that stand for a split without further words, such as "Training set": from name to split."""
    return _by_word(_by_further_words(names)[()])


def named_splits(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that stand for splits, if one is for training and another is not: from name to split.

    A name may have a word of the data set in it, if all have the same (seg_train and seg_test, but not "train station"
    and "test tube"), and numbers.
    """
    for words in _by_further_words(names).values():
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


def _by_further_words(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, str]]:
    """Returns, for each set of further words, the names that have one word for a split, and that word."""
    found: dict[tuple[str, ...], dict[str, str]] = collections.defaultdict(dict)
    for name in sorted(set(names)):
        words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        words = [re.sub(r"(?<=.)(set|data|images)$", "", word.casefold()) for word in words]
        known = [word for word in words if word in NAMES]
        if len(known) == 1:
            found[tuple(word for word in words if word not in FILLERS and word not in NAMES)][name] = known[0]
    return found


def refuse_other_splits(layout: Layout) -> None:
    """Refuses folders that look like splits where none was found.

    Raises:
        UserError: all are named like splits, and none is for training; or one is, and all hold the same folders.
    """
    names = _folders(layout.inner.values())
    known = splits_of(names)
    if layout.folders or not known:
        return
    listed = enumeration(sorted(map(repr, names)))
    if known.keys() == names and len(set(known.values())) > 1:
        raise UserError(
            f"the folders {listed} are named like splits, but none is for training. Add a folder train, or rename them "
            "if they are classes."
        )
    common = set.intersection(*_held(layout.inner.values()))
    if len(names) > 1 and len(common) > 1:
        raise UserError(
            f"the folders {listed} look like splits: all hold {enumeration(sorted(map(repr, common)), 3)}. Name them "
            f"train, validation and test; or rename {enumeration(sorted(map(repr, known)))}, where that is a class."
        )


def shared_folders(layout: Layout) -> list[str]:
    """Returns the folders that are in each class folder, if they are more than the classes: they may be the classes."""
    held = list(_held(layout.inner.values()))
    common = sorted(set.intersection(*held)) if len(held) > 1 and not layout.folders else []
    return common if len(common) > max(len(held), 2) else []


def require_labels(layout: Layout, folder: str) -> None:
    """Raises a UserError if a class is not divided, or a split (a contest's test images, say) has no class of train."""
    divided = _folders(layout.inner[path] for path in layout.splits)
    if whole := sorted(map(repr, _folders(layout.inner.values()) - divided)):
        raise UserError(
            f"{folder}: {enumeration(whole)} is not divided into splits, as other folders are. Divide it, move it out "
            f"of {folder}, or set data.split to random, which divides the images of all classes anew."
        )
    paths = {name: [layout.inner[path] for path, split in layout.splits.items() if split == name] for name in SPLITS}
    classes = _folders(paths["train"])
    for name, of_split in paths.items():
        if not of_split or (_folders(of_split) & classes):
            continue
        names = " and ".join(map(repr, _of_split(layout, name)))
        if name == "train":
            raise UserError(
                f"{folder}: {names} is a split, but has {len(of_split)} files without a class folder. Sort them into "
                "one sub-folder per class, or set data.labels or data.label_pattern."
            )
        raise UserError(
            f"{folder}: {names} is the {name} split, but has {len(of_split)} images without a class folder of train, "
            "so nothing can be measured on them. Sort them into the same class folders as those of train, or move "
            f"{names} out of {folder}: {name} is then cut from train; or set data.split to random, which divides the "
            "images that have a class folder anew."
        )


def _split_outside(inner: dict[str, str], root: str, folders: dict[str, str]) -> Layout:
    """Returns the layout SPLIT/CLASS/FILE. Further lone folders inside a split's, such as images, are ignored."""
    tops = {path: rest.split("/")[0] for path, rest in inner.items() if "/" in rest}
    splits = {path: folders[top] for path, top in tops.items() if top in folders}
    rest = {path: inner[path].partition("/")[2] if path in splits else "" for path in inner}
    classes: set[str] = set()
    for name in sorted(folders, key=lambda name: folders[name] != "train"):
        paths = [path for path, top in tops.items() if top == name]
        while (lone := _lone_folder([rest[path] for path in paths])) and lone not in classes:
            rest |= {path: rest[path].partition("/")[2] or posixpath.basename(path) for path in paths}
        found = _folders(rest[path] for path in paths)
        if folders[name] == "train":
            classes |= found
        elif len(found) == 1 and not found & classes:  # a folder of images without labels
            rest |= {path: posixpath.basename(path) for path in paths}
    return Layout(rest, splits, root, folders, {*tops.values()} - folders.keys())


def _split_inside(inner: dict[str, str], root: str, folders: dict[str, str]) -> Layout:
    """Returns the layout CLASS/SPLIT/FILE; CLASS/FILE where `folders` is empty."""
    rest, splits, beside = dict(inner), {}, set()
    for path in inner:
        parts = inner[path].split("/")
        if len(parts) > 2 and parts[1] in folders:
            rest[path], splits[path] = "/".join([parts[0], *parts[2:]]), folders[parts[1]]
        elif len(parts) > 1:
            beside.add(parts[1] if len(parts) > 2 else inner[path])
    return Layout(rest, splits, root, folders, beside)


def _lone_folder(paths: Collection[str]) -> str:
    """Returns the one folder that all others lie in; empty if there is none, or if it has images itself."""
    folders = _folders(paths)
    direct = {posixpath.splitext(path)[1].lower() for path in paths if path.count("/") == 1}
    deep = {posixpath.splitext(path)[1].lower() for path in paths if path.count("/") > 1}
    return folders.pop() if len(folders) == 1 and deep and not direct & deep else ""


def _folders(paths: Iterable[str]) -> set[str]:
    """Returns the first folder of each path that has one."""
    return {path.split("/")[0] for path in paths if "/" in path}


def _held(paths: Iterable[str]) -> Collection[set[str]]:
    """Returns the folders directly in each folder, a set for each."""
    held: dict[str, set[str]] = collections.defaultdict(set)
    for path in paths:
        if "/" in path:
            top, below = path.split("/", 1)
            held[top] |= _folders([below])
    return held.values()


def _of_split(layout: Layout, split: str) -> list[str]:
    return sorted(name for name, of in layout.folders.items() if of == split)
