"""Regular expressions of the user, searched in names and paths within a time limit."""

import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from stages.common.cli import UserError, printable

LIMIT = 5  # seconds of processor time for one text, of which an ordinary pattern takes microseconds


def find(name: str, pattern: str, texts: Iterable[str]) -> list[str]:
    """Returns what the one group of a pattern finds in each text, empty where it does not fit.

    `name` is the parameter with the pattern. To be called in the main thread, which alone can interrupt a search.

    Raises:
        UserError: a search exceeds the limit, because the pattern can match a text in very many ways.
    """
    search, found = re.compile(pattern).search, []
    with _alarm():
        for text in texts:
            signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
            try:
                match = search(text)
            except TimeoutError:
                raise UserError(
                    f"{name} {printable(pattern)} takes more than {LIMIT} seconds on {printable(text)}: it can match "
                    "in too many ways. Let no repetition stand in another, as in (a+)+, nor two beside each other that "
                    "match the same, as in .*.*"
                ) from None
            found.append(match[1] or "" if match else "")
    return found


@contextmanager
def _alarm() -> Iterator[None]:
    """Makes the timer of processor time raise a TimeoutError, and stops it at the end of the block."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
