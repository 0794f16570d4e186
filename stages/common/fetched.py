"""Images and weights that the project can fetch. Where no parameter asks for them, a note is the output of the stage.

`dvc status`, `dvc checkout` and `dvc pull` fail over outputs that were never made.
"""

import os
from pathlib import Path

import requests

from stages.common import cli, tracked

LONGEST_BODY = 32 << 20  # bytes; the longest file that is fetched has 9.4 MB


def is_asked_for(place: str, parameter: str, given: str, note: Path) -> bool:
    """Whether a parameter, such as data.images, asks for a path that the project can fetch. If not, writes the note.

    Args:
        place: path that is fetched.
        given: value of the parameter.

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


def read_body(response: requests.Response) -> bytes:
    """Returns the body of an answer to a request with stream=True.

    Raises:
        RequestException: the answer is an error, ends too early or is longer than LONGEST_BODY.
    """
    response.raise_for_status()
    data = bytearray()
    for chunk in response.iter_content(1 << 16):
        data += chunk
        if len(data) > LONGEST_BODY:
            raise requests.RequestException(f"the answer is longer than {LONGEST_BODY:,} bytes")
    return bytes(data)
