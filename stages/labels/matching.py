"""Matching of the paths that a table names with the files of a folder."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote

WHOLE = 1_000  # common parts that a match of a whole row counts as


class FileIndex:
    """The files of a folder, to be found by paths as tables write them.

    `paths` are below the folder; `folder` is its path, whose name may stand in rows. Of several that fit, the first
    `preferred` paths come before the others, which may be masks or thumbnails of these.
    """

    def __init__(self, paths: Sequence[str], folder: str, preferred: int = 0) -> None:
        self._preferred = preferred
        self._paths = [unicodedata.normalize("NFC", path) for path in paths]
        self._name = unicodedata.normalize("NFC", os.path.basename(os.path.abspath(folder)))
        names = [posixpath.basename(path).casefold() for path in self._paths]
        self._names = {*names, *map(_stem, names)}
        self._folders = {posixpath.dirname(path).casefold() for path in self._paths} - {""}
        self._by_end: dict[tuple[Callable, Callable, int], dict[str, list[int]]] = {}

    def find(self, row: str) -> tuple[list[int], int]:
        """Returns the files that a row fits, by their places, and how many of the last parts of the paths agree.

        A row names a path below the folder, or any path with the folder's name in it (an absolute one of another
        computer, say), or the last parts of one, with or without extension. Whatever else stands before is ignored (a
        bucket, a server, a query) if what follows is the end of exactly one path, but not the name of another folder
        that is here. Case is ignored where there is no such file otherwise.
        """
        for path in _spellings(row):
            if posixpath.basename(path).casefold() not in self._names:
                continue  # which most spellings of an address end at
            places, parts = self._find_whole(path) or self._find_end(path)
            if places:
                return [place for place in places if place < self._preferred] or places, parts
        return [], 0

    def _find_whole(self, path: str) -> tuple[list[int], int] | None:
        below = f"/{path}".partition(f"/{self._name}/")[2]
        for fold in (str, str.casefold):
            for kind in (str, _stem):
                for text in filter(None, (path, below)):
                    parts = text.count("/") + 1
                    if places := self._ending(fold, kind, parts).get(fold(text)):
                        exact = [place for place in places if self._paths[place].count("/") + 1 == parts]
                        return (exact if len(exact) == 1 else places), WHOLE
        return None

    def _find_end(self, path: str) -> tuple[list[int], int]:
        parts = path.split("/")
        for count in range(len(parts) - 1, 0, -1):
            if "/".join(parts[-count - 1 : -1]).casefold() in self._folders:
                break  # a folder that is here, and lacks the file
            end = "/".join(parts[-count:])
            for fold in (str, str.casefold):
                for kind in (str, _stem):
                    if places := self._ending(fold, kind, count).get(fold(end)):
                        return places, count
        return [], 0

    def _ending(self, fold: Callable[[str], str], kind: Callable[[str], str], count: int) -> dict[str, list[int]]:
        """Returns the files by their last `count` parts."""
        key = (fold, kind, count)
        if key not in self._by_end:
            self._by_end[key] = {}
            for place, path in enumerate(self._paths):
                parts = kind(path).rsplit("/", count)
                if len(parts) >= count:
                    end = "/".join(parts[-count:])
                    self._by_end[key].setdefault(fold(end), []).append(place)
        return self._by_end[key]


def _spellings(row: str) -> Iterator[str]:
    """Yields a row's path with `/` and without `.` and `..`; then without what an address adds to it."""
    row = unicodedata.normalize("NFC", row)
    paths = [row.replace("\\", "/")]
    if re.search("[?%#]", row):
        address, _, query = row.partition("?")
        values = re.findall("=([^&]*[./%][^&]*)", query)  # of Label Studio's ?d=folder/file
        paths += [unquote(text) for text in (row, address.partition("#")[0], *values)]
    yield from (posixpath.normpath(path) for path in paths if path)


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]
