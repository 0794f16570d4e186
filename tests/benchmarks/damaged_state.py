"""Damages stored state: checkpoints and stored views with flipped bits, missing ends and zeroed ranges, one at a time.

    python -m tests.benchmarks.damaged_state [--views 400] [--seed 0]

Flips every bit of a small checkpoint, and one bit, or a range, in each of so many views; reads each as a training does.
Prints how often the state was computed anew with a line that says so, was read although it is damaged, or ended in an
error. The exit status is 1 unless all were computed anew. Takes about a minute.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from stages.model import mobilenet_v2, network
from stages.training.checkpoint import Checkpoint
from stages.training.views import Augmented, Stored
from tests.support import SMALL_BLOCKS, make_split
from tests.training.support import flip

ROWS = [{"epoch": 1, "phase": "train_frozen", "loss": 0.1 + 0.2, "kept": False}]
ARRAYS = [np.arange(100, dtype=np.float32), np.array(3), np.ones((4, 5)), np.arange(9), np.zeros(1)]
HEADER = 128  # bytes of the header of a .npy file
OUTCOMES = ["computed anew", "read although damaged", "error"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        counts = of_checkpoints(rng) | of_views(rng, arguments.views)
        os.chdir("/")
    table = pd.DataFrame(counts).T.reindex(columns=OUTCOMES).fillna(0).astype(int)
    table.insert(0, "tried", table.sum(axis=1))
    table.loc["all"] = table.sum()
    print(table.to_string())
    sys.exit(int(table.loc["all", "tried"] > table.loc["all", "computed anew"]))


def of_checkpoints(rng):
    """Returns the number of outcomes by kind of damage, {kind: {outcome: number}}."""
    checkpoint = Checkpoint({"seed": 1}, [], [])
    checkpoint.save(ROWS, ARRAYS, [])
    whole = checkpoint.path.read_bytes()

    def read():
        return checkpoint.restore([]) != ([], [])

    damaged = {
        "checkpoint, each bit flipped": (flip(whole, bit) for bit in range(8 * len(whole))),
        "checkpoint, each length": (whole[:length] for length in range(len(whole))),
        "checkpoint, a range of zeros": (zeroed(rng, whole) for _ in range(500)),
    }
    return {kind: outcomes(checkpoint.path, files, read) for kind, files in damaged.items()}


def of_views(rng, count):
    """Returns the same of so many damaged views."""
    with mock.patch.object(mobilenet_v2, "BLOCKS", SMALL_BLOCKS):
        frozen, _ = network.split_at(network.build(32, 2), 18)
    images, path = Augmented(make_split(8, ["a", "b"])), Path(".checkpoints/view0")

    def store():
        return Stored(images, frozen, Path(".checkpoints/view"), "float16").read(np.arange(8), np.zeros(8, int))

    expected, whole = store(), path.read_bytes()

    def read():
        return not np.array_equal(store(), expected) or path.read_bytes() != whole

    part, header = count // 4, 8 * HEADER
    damaged = {
        "view, a bit of its header flipped": (flip(whole, bit) for bit in np.linspace(0, header - 1, part).astype(int)),
        "view, a bit of its rows flipped": (flip(whole, bit) for bit in rng.integers(header, 8 * len(whole), part)),
        "view, without its end": (whole[:length] for length in [0, *rng.integers(len(whole), size=part - 1)]),
        "view, a range of zeros": (zeroed(rng, whole) for _ in range(part)),
    }
    return {kind: outcomes(path, files, read) for kind, files in damaged.items()}


def outcomes(path, files, read):
    """Counts what `read` does with each content of the file: it returns whether the damaged content was used."""
    found = Counter()
    for content in files:
        path.write_bytes(content)
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                used = read()
        except Exception as error:
            print(f"{path}: {error!r}", flush=True)
            found["error"] += 1
        else:
            said = output.getvalue().startswith(f"WARNING: .checkpoints/{path.name} is damaged: computed anew\n")
            found["read although damaged" if used or not said else "computed anew"] += 1
    return found


def zeroed(rng, data):
    """The data with a random range of zeros, of which one byte at least was none."""
    while True:
        start, end = sorted(rng.integers(len(data) + 1, size=2))
        if any(data[start:end]):
            return data[:start] + bytes(end - start) + data[end:]


if __name__ == "__main__":
    main()
