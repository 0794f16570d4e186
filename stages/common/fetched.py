"""Images and weights that the project can fetch. Where no parameter asks for them, a note stands in their place.

`dvc status`, `dvc checkout` and `dvc pull` fail over outputs that were never made; the note is such an output.
"""

import os
from pathlib import Path

from stages.common import cli, tracked


def is_asked_for(place: str, parameter: str, given: str, note: Path) -> bool:
    """Whether a parameter asks for a path that the project can fetch. If it does not, writes the note.

    Args:
        place: path that is fetched, relative to the root of the repository.
        parameter: dotted key, such as data.images.
        given: value of the parameter.
        note: file to write, in `place` or instead of it.

    Raises:
        UserError: git lacks `given` (tracked.check). DVC runs this before it looks for the path, and would say less.
    """
    if os.path.abspath(given) == os.path.abspath(place):
        return True
    tracked.check(given)
    note.parent.mkdir(exist_ok=True)
    note.write_text(f"These {parameter.partition('.')[2]} are fetched when {parameter} is {place}.\n")
    print(f"not fetched: {parameter} is {cli.printable(given)}")
    return False
