"""A check that files stay as they are while a stage reads them: DVC hashes what a stage has read only after its end."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from stages.common.cli import UserError, enumeration, printable

NAMED = 3  # files that an error names of each kind of change


@contextlib.contextmanager
def ensure(list_files: Callable[[], Iterable[str]]) -> Iterator[dict[str, str]]:
    """Checks that the files that a function lists are the same at the end of the block as at its start.

    Yields a dictionary for the SHA-256 of files that the block reads, by path. Where times differ, it decides: backup
    programs and links of DVC's cache change the times of a file and leave its bytes.

    Raises:
        UserError: a file has changed, vanished or appeared. It also takes the place of an error of the block, which is
            then a consequence, such as an image that is half written.
    """
    before = {path: _stat(path) for path in list_files()}
    sha256: dict[str, str] = {}
    try:
        yield sha256
    except (UserError, OSError):
        _compare(before, list_files, sha256)
        raise
    _compare(before, list_files, sha256)


def _compare(
    before: dict[str, tuple[int, ...]], list_files: Callable[[], Iterable[str]], sha256: dict[str, str]
) -> None:
    after = dict.fromkeys(list_files())
    changes = {
        "changed": [path for path in after if path in before and not _is_same(path, before[path], sha256.get(path))],
        "vanished": [path for path in before if path not in after],
        "appeared": [path for path in after if path not in before],
    }
    if any(changes.values()):
        what = [f"{enumeration([*map(printable, paths)], NAMED)} {verb}" for verb, paths in changes.items() if paths]
        raise UserError(
            f"{'; '.join(what)} while this stage ran, so nothing is written. Run it again once they stay as they are."
        )


def _stat(path: str) -> tuple[int, ...]:
    """Returns size, time of the last change of the bytes, and of anything; nothing for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_same(path: str, before: tuple[int, ...], sha256: str | None) -> bool:
    now = _stat(path)
    if now == before or not sha256 or now[:1] != before[:1]:
        return now[:2] == before[:2]
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False
