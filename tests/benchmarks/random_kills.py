"""Kills the pipeline at random moments, again and again, and compares the next run with an undisturbed one.

    python -m tests.benchmarks.random_kills [--kills 20] [--seed 0]

Each kill forgets one stage, starts `dvc repro`, waits for a random part of the time that the stage takes, and kills
everything, DVC or the stage, or presses Ctrl-C. Which moments are hit depends on the speed of the machine; the moments
that matter are in tests/test_reproducibility.py. Ends with an AssertionError where a byte differs.
"""

import argparse
import random
import subprocess
import tempfile
import time
from pathlib import Path

from tests.interruptions import assert_the_same, end, forget, let_time_pass, start
from tests.support import STAGES, clone_small, environment


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = clone_small(Path(folder) / "undisturbed", {"ant": 20, "bee": 20}, {"finetune.epochs": 8})
        undisturbed.run("dvc", "add", "data/mine", "own.weights.h5")
        undisturbed.commit()
        undisturbed.run("dvc", "repro", "data/alpaca/dvc.yaml", "data/weights/dvc.yaml")
        undisturbed.run("dvc", "repro", "data/digits/dvc.yaml")
        seconds = {}
        for stage in STAGES:
            begin = time.monotonic()
            undisturbed.run("dvc", "repro", "--single-item", stage)
            seconds[stage] = time.monotonic() - begin
        undisturbed.commit()
        project = undisturbed.copy(Path(folder) / "project")
        for _ in range(arguments.kills):
            stage, how = rng.choice(STAGES), rng.choice(["everything", "dvc", "stage", "Ctrl-C"])
            wait = rng.uniform(0, seconds[stage])
            forget(project, stage)
            process = start(project, subprocess.DEVNULL, environment())
            time.sleep(wait)
            if process.poll() is None:
                end(process, how)
            let_time_pass(project)
            if not (project.folder / "dvc.lock").read_text().endswith("\n"):  # DVC writes it in place
                project.run("git", "checkout", "dvc.lock")
            project.run("dvc", "repro", *STAGES)
            assert_the_same(project, undisturbed)
            print(f"{stage}, {how} after {wait:.2f} s: the same bytes", flush=True)


if __name__ == "__main__":
    main()
