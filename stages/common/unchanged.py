"""A check that files stay as they are while a stage reads them: DVC hashes what a stage has read only after its end."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from stages.common.cli import UserError, enumeration, printable

NAMED = 3  # files that an error names of each kind of change


@dataclass
class Inputs:
    """Files as they are when a stage begins to read them.

    `sha256` takes the hashes of files that were read, by path. Where times differ, it decides: backups, and links
    to DVC's cache, change the times of a file and leave its bytes.
    """

    list_files: Callable[[], Iterable[str]]
    sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = {path: _stat(path) for path in self.list_files()}

    def check(self) -> None:
        """Raises a UserError if a file has changed, vanished or appeared."""
        before, after = self._before, dict.fromkeys(self.list_files())
        both = [path for path in after if path in before]
        changes = {
            "changed": [path for path in both if not _is_same(path, before[path], self.sha256.get(path))],
            "vanished": [path for path in before if path not in after],
            "appeared": [path for path in after if path not in before],
        }
        what = [f"{enumeration([*map(printable, paths)], NAMED)} {verb}" for verb, paths in changes.items() if paths]
        if what:
            raise UserError(
                f"{'; '.join(what)} while this stage ran, so its results do not count. Run it again once they stay as "
                "they are."
            )


@contextlib.contextmanager
def ensure(list_files: Callable[[], Iterable[str]]) -> Iterator[Inputs]:
    """Checks that the files that a function lists are the same at the end of the block as at its start.

    Raises:
        UserError: as Inputs.check. It also takes the place of an error of the block, which is then a consequence, such
            as an image that is half written.
    """
    inputs = Inputs(list_files)
    try:
        yield inputs
    except (UserError, OSError):
        inputs.check()
        raise
    inputs.check()


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
