"""Measures what determinism and checkpoints cost the training stages, against the same with both switched off.

    python -m tests.benchmarks.price [--turns 5] [--images 320]

Both take turns in processes of their own, on random images of 224 pixels and random weights; printed are seconds per epoch
(the first, with its tracing, left out) and the ratio of the two in each turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

PHASES = {"frozen": 154, "finetune": 120}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--child", choices=["with", "without"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child == "with", arguments.images)))
        return
    rows = []
    for turn in range(1, arguments.turns + 1):
        order = ("with", "without") if turn % 2 else ("without", "with")
        seconds = {kind: child(kind, arguments.images) for kind in order}
        for phase in PHASES:
            row = {"turn": turn, "phase": phase, **{kind: seconds[kind][phase] for kind in ("with", "without")}}
            rows.append({**row, "speed": row["without"] / row["with"]})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(
        table.groupby("phase", sort=False)["speed"]
        .agg(["median", "min", "max"])
        .to_string(float_format="{:.3f}".format)
    )


def child(kind, images):
    command = [sys.executable, "-m", "tests.benchmarks.price", "--child", kind, "--images", str(images)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(protected, images):
    """Returns the median seconds of an epoch for each phase, `protected` by determinism and checkpoints or not."""
    import tensorflow

    if not protected:
        tensorflow.config.experimental.enable_op_determinism = lambda: None
    from stages.common import dataset
    from stages.model import network
    from stages.training import loop
    from stages.training.checkpoint import Checkpoint

    class NoCheckpoint:
        path = Path("none")

        def load(self):
            return None

        def save(self, *state):
            pass

    pixels = np.random.default_rng(0).integers(0, 256, (images, 224, 224, 3), np.uint8)
    split = dataset.Split(pixels, pd.DataFrame({"label": np.arange(images) % 2}), ["a", "b"])
    few = dataset.Split(pixels[:32], split.manifest[:32], ["a", "b"])
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for phase, layer in PHASES.items():
            model = network.build(224, 2)
            network.freeze_below(model, layer)
            checkpoint = Checkpoint({}, model.variables, [split]) if protected else NoCheckpoint()
            ends = []
            loop.train(
                model,
                split,
                loop.validation(model, few, 32),
                checkpoint,
                phase=phase,
                first_epoch=1,
                epochs=4,
                learning_rate=1e-5,
                schedule="constant",
                monitor="none",
                patience=1,
                batch_size=32,
                seed=1,
                flip="horizontal",
                rotation=0.05,
                dropout=0.2,
                class_weights=np.ones(2),
                watch=lambda epochs: ends.append(time.monotonic()),
            )
            seconds[phase] = statistics.median(np.diff(ends))
    return seconds


if __name__ == "__main__":
    main()
