"""Stands in for the package `stages` where a script is run as a file, or in its folder: says how to run it.

Python then looks for `stages` beside the script, and finds this file. Each folder of scripts has a link to it.
"""

import os
import shlex
import sys
from itertools import pairwise
from pathlib import Path

if __name__ == "stages":
    root = next(folder for folder in Path(__file__).absolute().parents if (folder / "params.yaml").exists())
    if script := getattr(sys.modules["__main__"], "__file__", None):
        name = os.path.relpath(script, root).removesuffix(".py").replace(os.sep, ".")
    else:  # python -m looks for it
        name = next((name for flag, name in pairwise(sys.orig_argv) if flag == "-m"), "stages.NAME")
    sys.exit(f"ERROR: run this from the root of the repository: cd {shlex.quote(str(root))} && python -m {name}")
