"""Measures what checksums and fsync cost a run, against what its stored views cost to compute.

    python -m tests.benchmarks.state_cost [--images 10000] [--turns 3]

The default parameters, of which so many images give 60% to train on: writes a view of them with checksum and fsync and
without, in turns, opens it again with its check, and writes checkpoints of fine-tuning. Prints medians, the sum for a
run, and what the frozen layers take for its views, measured on some of them: no run is quicker than that. Seconds are
those of the clock, and those of the processor, which do not depend on what else the machine does but leave out waiting
for the disk.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np

from stages.common import arrays, params
from stages.model import network
from stages.training import state_file
from stages.training.phase import SHARED_AT
from stages.training.views import Augmented, Stored
from tests.support import make_split

SAMPLE = 320  # images whose views are computed
FEW = 32  # images whose views are computed to measure the start
ROWS = 32  # images that are written at a time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    p = params.read(*params.Params.model_fields)
    model = network.build(p.image_size, 2)
    frozen, _ = network.split_at(model, SHARED_AT)
    network.freeze_below(model, p.finetune.fine_tune_at)
    trained = [weight.numpy() for weight in model.trainable_variables]
    count, row = arguments.images * 6 // 10, np.random.default_rng(0).random((ROWS, *frozen.output_shape[1:]))
    rows = row.astype(np.float16)
    with tempfile.TemporaryDirectory(dir=".", prefix=".", suffix=".tmp") as folder:
        seconds = {name: [] for name in ("with", "without", "opened", "checkpoint", "checkpoint without")}
        for turn in range(arguments.turns):
            order = ("with", "without") if turn % 2 else ("without", "with")
            for name in order:
                with protected(name == "with"):
                    seconds[name].append(timed(write_view, Path(folder, "view"), rows, count))
                    name = "checkpoint" if name == "with" else "checkpoint without"
                    seconds[name].append(timed(write, Path(folder, "state"), 4 * trained))
                if name == "checkpoint":
                    seconds["opened"].append(timed(state_file.is_whole, Path(folder, "view")))
        median = {name: np.median(values, axis=0) for name, values in seconds.items()}
        images = Augmented(make_split(SAMPLE, ["a", "b"], size=p.image_size), p.augmentation, 0, 2)
        os.chdir(folder)
        some = Augmented(make_split(FEW, ["a", "b"], size=p.image_size), p.augmentation, 0, 2)
        start = timed(Stored, some, frozen, Path("some"), "float16")
        computed = (timed(Stored, images, frozen, Path("computed"), "float16") - start) * count / (SAMPLE - FEW) / 2
        os.chdir("..")
    views_of_run = p.train.views + 2 / 3  # validation images are a third as many, in float32
    epochs = p.train_frozen.epochs + p.finetune.epochs
    cost = views_of_run * (median["with"] - median["without"] + median["opened"])
    cost += epochs * (median["checkpoint"] - median["checkpoint without"])
    for name, value in median.items():
        print(f"{name:20} {value[0]:8.3f} s by the clock, {value[1]:8.3f} s of the processor")
    least = (p.train.views + 1 / 3) * computed
    for kind, more, all_views in zip(("by the clock", "of the processor"), cost, least, strict=True):
        print(
            f"{arguments.images:,} images, {kind}: {more:.1f} s more, views {all_views:.0f} s: {more / all_views:.2%}"
        )


@contextlib.contextmanager
def protected(yes):
    """Runs the block with checksums and fsync, or without."""
    if yes:
        yield
        return
    nothing = SimpleNamespace(crc32=lambda data, checksum: 0)
    with mock.patch.object(state_file, "zlib", nothing), mock.patch.object(os, "fsync", lambda descriptor: None):
        yield


def write_view(path, rows, count):
    with state_file.replacing(path) as file:
        arrays.write_header(file, (count, *rows.shape[1:]), rows.dtype)
        for _ in range(0, count, len(rows)):
            file.write(rows)


def write(path, values):
    with state_file.replacing(path) as file:
        for value in values:
            file.write(value)


def timed(function, *arguments):
    """Returns seconds by the clock and of the processor, float [2]."""
    began = np.array([time.monotonic(), time.process_time()])
    function(*arguments)
    return np.array([time.monotonic(), time.process_time()]) - began


if __name__ == "__main__":
    main()
