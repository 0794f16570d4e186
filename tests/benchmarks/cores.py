"""Shows that the pipeline gives the same bytes on one core as on all.

    python -m tests.benchmarks.cores [KEY=VALUE ...]

Runs `dvc repro` of HEAD in two clones, the second one bound to a single core (Linux), with the parameters KEY=VALUE,
and compares every file of every output, as tests.benchmarks.same_outputs does. The exit status is 1 if a file differs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import yaml

from tests.benchmarks.same_outputs import outputs, report, run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", metavar="KEY=VALUE", nargs="*", type=lambda text: text.split("=", 1))
    changes = {key: yaml.safe_load(value) for key, value in parser.parse_args().changes}
    with tempfile.TemporaryDirectory() as folder:
        on_all = outputs(run("HEAD", Path(folder) / "all", changes))
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # of this process and those that it starts
        on_one = outputs(run("HEAD", Path(folder) / "one", changes))
    sys.exit(report(on_all, on_one, "all cores", "one core"))


if __name__ == "__main__":
    main()
