"""Tries faults while `split` runs: each ends in the right outputs, or in one line with the earlier outputs untouched.

    python -m tests.benchmarks.faults [--each 50] [--seed 0]

Short memory, few file descriptors, a disk that fills (only root can mount a small one), and files that change, vanish
or appear, each so often, of random amounts and at random moments, under data.on_unreadable: skip. Prints how often the
stage wrote what it should, ended in one line with its earlier outputs untouched, or did anything else; the exit status
is 1 then.
"""

import argparse
import hashlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tests.support import clone_small, environment

OUTPUTS = "data/splits"
SPLIT = [sys.executable, "-m", "stages.split"]
LARGE = (3000, 2000)  # width and height of an image of which each class has one
LONGEST = 120  # seconds after which a run counts as one that hangs
OUTCOMES = ["as without the fault", "one line, nothing lost", "anything else"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, counts = random.Random(arguments.seed), {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "none", folder], check=True)
        try:
            trial = Trial(Path(folder))
            for kind in (short_memory, few_descriptors, full_disk, changed_files):
                counts[kind.__doc__] = Counter(trial.run(kind, rng) for _ in range(arguments.each))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    table = pd.DataFrame(counts).T.reindex(columns=OUTCOMES).fillna(0).astype(int)
    print(table.to_string())
    sys.exit(int(table["anything else"].any()))


class Trial:
    """A small project, its outputs of an earlier run, and those that the next one should write."""

    def __init__(self, folder):
        changes = {"data.on_unreadable": "skip", "image_size": 96}
        self.project, self.disk = clone_small(folder / "project", {"ant": 30, "bee": 30}, changes), folder
        self.images, self.splits = self.project.folder / "data/mine", self.project.folder / OUTPUTS
        for number, name in enumerate(("ant", "bee")):
            noise = np.random.default_rng(number).integers(0, 256, (*LARGE[::-1], 3), np.uint8)
            Image.fromarray(noise).save(self.images / name / "large.jpg")
        self.untouched = folder / "images"
        shutil.copytree(self.images, self.untouched)
        for name, seed in (("earlier", 1), ("expected", 2)):
            self.project.set({"seed": seed})
            began = time.monotonic()
            self.project.run(*SPLIT)
            self.seconds = time.monotonic() - began
            shutil.copytree(self.splits, folder / name)
        self.expected, self.earlier = contents(folder / "expected"), contents(folder / "earlier")

    def run(self, kind, rng):
        """Runs `split` with a fault and returns its outcome."""
        for source, target in ((self.untouched, self.images), (self.disk / "earlier", self.splits)):
            shutil.rmtree(target)
            shutil.copytree(source, target)
        self.changed_at = 0
        with tempfile.TemporaryFile("w+") as output:
            status = kind(
                self, rng, {"cwd": self.project.folder, "env": environment(), "stdout": output, "stderr": output}
            )
            output.seek(0)
            lines = [line for line in output.read().splitlines() if not line.startswith("WARNING: ")]
        if status == 0 and self.is_right():
            return OUTCOMES[0]
        if status == 1 and len(lines) == 1 and lines[0].startswith("ERROR: ") and contents(self.splits) == self.earlier:
            return OUTCOMES[1]
        print(f"{kind.__doc__}: status {status}", *lines[-5:], sep="\n    ", flush=True)
        return OUTCOMES[2]

    def is_right(self):
        """Whether the outputs are the expected ones; of files changed before they were in place, of the bytes there."""
        written = max(path.stat().st_ctime for path in self.splits.iterdir())
        if contents(self.images) == contents(self.untouched) or self.changed_at > written:
            return contents(self.splits) == self.expected
        used = pd.concat(pd.read_csv(path) for path in self.splits.glob("*/manifest.csv"))
        return dict(zip(used["path"], used["sha256"], strict=True)) == contents(self.images)


def short_memory(trial, rng, options):
    """short memory"""
    limit = rng.randrange(400, 1200) * 10**6
    return split(options, preexec_fn=lambda: limited(resource.RLIMIT_AS, limit))


def few_descriptors(trial, rng, options):
    """few file descriptors"""
    limit = rng.randrange(8, 40)
    return split(options, preexec_fn=lambda: limited(resource.RLIMIT_NOFILE, limit))


def full_disk(trial, rng, options):
    """a disk that fills"""
    used = shutil.disk_usage(trial.disk).used
    subprocess.run(["mount", "-o", f"remount,size={used + rng.randrange(8_000_000)}", trial.disk], check=True)
    try:
        return split(options)
    finally:
        subprocess.run(["mount", "-o", "remount,size=2g", trial.disk], check=True)


def changed_files(trial, rng, options):
    """a file changes, vanishes or appears"""
    path = trial.images / rng.choice(["ant", "bee"]) / f"{rng.randrange(30):03}.png"
    changes = [
        lambda: path.write_bytes(rng.choice(list(trial.untouched.glob("*/*.png"))).read_bytes()),
        path.unlink,
        lambda: shutil.copyfile(path, path.with_name("new.png")),
    ]
    change = rng.choice(changes)

    def make():
        trial.changed_at = time.time()
        change()

    timer = threading.Timer(rng.uniform(0, trial.seconds), make)
    timer.start()
    status = split(options)
    timer.join()
    return status


def split(options, **more):
    """Runs the stage; returns its exit status, or what says that it hung."""
    try:
        return subprocess.run(SPLIT, **options, **more, timeout=LONGEST).returncode
    except subprocess.TimeoutExpired:
        return "none: it hung"


def limited(kind, limit):
    resource.setrlimit(kind, (limit, limit))


def contents(folder):
    """{path below the folder: SHA-256} of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
