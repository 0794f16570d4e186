"""Power cuts: checkpoints and stored views on a file system that stops at random moments, and what is left of them.

    sudo python -m tests.benchmarks.power_cut [--cuts 50] [--seed 0]

Linux only, as root: makes an ext4 file system in a file, mounts it as a loop device, and lets a process write
checkpoints and views there, as training does, until EXT4_IOC_SHUTDOWN stops the file system without writing what is in
memory. Half of the cuts are without fsync, so that checksums have something to find. Then mounts it again and reads all
that is left. Prints for each cut and in total: files that are whole, damaged files that were refused, damaged files
that were read, and checkpoints older than the last one that `save` had finished. The exit status is 1 if a damaged file
was read, or if one was damaged or older in spite of fsync.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
import fcntl
import io
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from stages.model import mobilenet_v2, network
from stages.training import state_file
from stages.training.checkpoint import Checkpoint
from stages.training.views import Augmented, Stored
from tests.support import SMALL_BLOCKS, make_split

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), of include/uapi/linux/ext4.h
NO_LOG_FLUSH = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH: the journal in memory is lost, too
SIZE = 256  # megabytes of the file system
LONGEST = 4.0  # seconds until a cut
FORK = multiprocessing.get_context("fork")  # the children have TensorFlow's modules, of which the parent runs nothing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, rows = np.random.default_rng(arguments.seed), []
    with tempfile.TemporaryDirectory() as folder:
        disk, place = Path(folder) / "disk", Path(folder) / "mounted"
        place.mkdir()
        for number in range(arguments.cuts):
            fsync = number % 2 == 0
            with disk.open("wb") as file:
                file.truncate(SIZE * 2**20)
            run("mkfs.ext4", "-q", disk)
            run("mount", "-o", "loop,commit=1", disk, place)  # names are written every second, contents later
            try:
                finished = cut(place, fsync, rng.uniform(0, LONGEST))
            finally:
                run("umount", place)
            run("mount", "-o", "loop", disk, place)
            try:
                rows.append({"fsync": fsync, "last epoch": finished} | in_child(read, place, finished))
            finally:
                run("umount", place)
            print(f"cut {number + 1}: {rows[-1]}", flush=True)
    table = pd.DataFrame(rows).drop(columns="last epoch")
    total = table.assign(cuts=1).groupby("fsync").sum()
    print(total.to_string())
    lost = table.loc[table["fsync"], ["refused", "older"]].to_numpy().sum()
    sys.exit(int(table["read although damaged"].sum() + lost > 0))


def run(*command):
    subprocess.run(command, check=True)


def cut(place, fsync, seconds):
    """Writes into a mounted file system, which stops after so many seconds; returns the last epoch that was saved."""
    receiver, sender = FORK.Pipe(duplex=False)
    writer = FORK.Process(target=write, args=(place, fsync, sender))
    writer.start()
    sender.close()
    receiver.recv()  # it begins
    time.sleep(seconds)
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
    os.close(descriptor)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    finished = 0
    with contextlib.suppress(EOFError):
        while True:
            finished = receiver.recv()
    return finished


def state(epoch):
    """The state of an epoch: 400 kB."""
    return [{"epoch": epoch}], [np.full(10**5, epoch, np.float32)]


def views():
    """Views of images, [8, 8, 16] of each, to be stored, and the model that computes them."""
    with mock.patch.object(mobilenet_v2, "BLOCKS", SMALL_BLOCKS):
        model = network.build(32, 2)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    frozen, _ = network.split_at(model, 18)
    return Augmented(make_split(100, ["a", "b"])), frozen


def write(place, fsync, sender):
    """Writes a view and a checkpoint, turn after turn, and sends the number of each checkpoint that is saved."""
    os.chdir(place)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the traceback of the cut
    images, frozen = views()
    checkpoint = Checkpoint({}, [], [])
    sender.send(0)
    with contextlib.nullcontext() if fsync else mock.patch.object(os, "fsync", lambda descriptor: None):
        for epoch in range(1, 10**6):
            checkpoint.save(*state(epoch), [])
            sender.send(epoch)
            Stored(images, frozen, Path(f".checkpoints/view{epoch}-"), "float16")


def in_child(function, *arguments):
    """Returns what a function sends, from a process of its own."""
    receiver, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=function, args=(*arguments, sender))
    child.start()
    result = receiver.recv()
    child.join()
    return result


def read(place, finished, sender):
    """Reads all state as training does, and sends the number of files by what became of them."""
    os.chdir(place)
    counts = dict.fromkeys(["whole", "refused", "read although damaged", "older"], 0)
    images, frozen = views()
    with contextlib.redirect_stdout(io.StringIO()):
        Stored(images, frozen, Path("expected"), "float16")
        content = Path("expected0").read_bytes()
        rows, arrays = Checkpoint({}, [], []).restore([])
        for path in Path(".checkpoints").glob("view*-0"):
            if not state_file.is_whole(path):
                counts["refused"] += 1
            else:
                counts["whole" if path.read_bytes() == content else "read although damaged"] += 1
    if rows:
        epoch = rows[0]["epoch"]
        whole = rows == state(epoch)[0] and np.array_equal(arrays, state(epoch)[1])
        counts["whole" if whole else "read although damaged"] += 1
        counts["older"] = int(epoch < finished)
    elif list(Path(".checkpoints").glob("*.npz")):
        counts["refused"] += 1
    else:
        counts["older"] = int(finished > 0)
    sender.send(counts)


if __name__ == "__main__":
    main()
