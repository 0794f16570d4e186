"""Measures what determinism and checkpoints cost the training stages, against the same with both switched off.

    python -m tests.benchmarks.determinism_cost [--turns 5] [--images 320]

Both take turns in processes of their own, with the settings of params.yaml, on random images and random weights;
printed are seconds per epoch (the first, with its tracing, left out; the views are computed before it) and the ratio of
the two in each turn.
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

from tests.support import make_split

PHASES = {"train_frozen": 154, "finetune": 120}  # fine_tune_at


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
    command = [sys.executable, "-m", "tests.benchmarks.determinism_cost", "--child", kind, "--images", str(images)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


class NoCheckpoint:
    path = Path("none")

    def beside(self, name):
        return Path(tempfile.mkdtemp(dir=".")) / name

    def restore(self, variables):
        return [], []

    def save(self, rows, variables, best):
        pass


def measure(protected, images):
    """Returns the median seconds of an epoch for each phase, `protected` by determinism and checkpoints or not."""
    import tensorflow as tf

    from stages.model import backend

    if not protected:
        tf.config.experimental.enable_op_determinism = lambda: None
    backend.configure()
    from stages.common import params
    from stages.model import network
    from stages.training import fit
    from stages.training.checkpoint import Checkpoint
    from stages.training.phase import store_views
    from stages.training.validation import Validation
    from stages.training.views import Augmented

    p = params.read(*params.Params.model_fields)
    train = make_split(images, ["a", "b"], size=p.image_size)
    validation = make_split(p.batch_size, ["a", "b"], size=p.image_size)
    early_stopping = params.EarlyStopping(monitor="none", patience=1)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, layer in PHASES.items():
            model = network.build(p.image_size, 2)
            network.freeze_below(model, layer)
            checkpoint = Checkpoint({}, model.variables, [train]) if protected else NoCheckpoint()
            images = Augmented(train, p.augmentation, p.seed, p.train.views)
            views, trained = store_views(model, layer, images, "float16", checkpoint.beside("train"))
            beside = checkpoint.beside("validation")
            validation_views, _ = store_views(model, layer, Augmented(validation), "float32", beside)
            phase = getattr(p, name).model_copy(update={"epochs": 4, "early_stopping": early_stopping})
            ends = []
            fit.fit(
                model,
                trained,
                views,
                Validation(model, trained, validation_views, p.batch_size),
                fit.Settings(name, phase, p.train, p.batch_size, p.seed),
                checkpoint,
                lambda epochs, metrics, ends=ends: ends.append(time.monotonic()),
            )
            seconds[name] = statistics.median(np.diff(ends))
    return seconds


if __name__ == "__main__":
    main()
