"""Measures what TensorFlow's fixed number of threads costs a step of fine-tuning, against that of the cores and others.

    python -m tests.benchmarks.threads [--turns 3] [--threads 2 4 8]

Each number computes steps of 32 images of 224 pixels, from layer 120 on, in a process of its own, in turns. Prints the
medians over all steps, by the clock and of the processor, and their ratios to the number of cores.
"""

import argparse
import os
import subprocess
import sys

import pandas as pd

from tests.support import ROOT, environment

STEPS = """
import sys, time
from stages.model import backend
backend.THREADS = int(sys.argv[1])
backend.configure()
import numpy as np, tensorflow as tf
from stages.common import params
from stages.model import network
from stages.training import learning_rate, optimizer, step
from stages.training.views import Augmented
from tests.support import make_split
p, model = params.read("train", "finetune"), network.build(224, 2)
network.freeze_below(model, 120)
trained, views = network.split_at(model, 120)[1], Augmented(make_split(32, ["a", "b"], size=224))
views.spec = tf.TensorSpec([None, *trained.input_shape[1:]], tf.float16)
adam = optimizer.make_optimizer(model, np.full(100, 1e-5, np.float32), 10)
train, rng = step.make_step(model, trained, views, adam, p.train), np.random.default_rng(0)
inputs, mask = rng.random((32, *trained.input_shape[1:]), np.float32), np.ones((32, 1280), np.float32)
for number in range(21):
    began = time.perf_counter(), time.process_time()
    np.asarray(train(step.distribution.shard(32), inputs, views.split.labels, mask))
    if number:  # the first one compiles
        print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=[2, 4, 8])
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    numbers = sorted({cores, *arguments.threads})
    rows = [row for _ in range(arguments.turns) for threads in numbers for row in steps(threads)]
    table = pd.DataFrame(rows, columns=["threads", "clock", "processor"]).groupby("threads").median()
    print(f"{cores} cores, seconds a step and ratios to {cores} threads:")
    print(table.join(table / table.loc[cores], suffixes=("", ", ratio")).round(3).to_string())


def steps(threads):
    """Returns (threads, seconds by the clock, seconds of the processor) of each step."""
    command = [sys.executable, "-c", STEPS, str(threads)]
    output = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True).stdout
    return [(threads, *map(float, line.split())) for line in output.splitlines()]


if __name__ == "__main__":
    main()
