"""Measures what a table of labels costs `split`, against the same images in class folders.

    python -m tests.benchmarks.label_table [--images 100000] [--turns 3]

Made-up images of 32 pixels in folders of ten classes, and a table that names each by its file's name without extension,
the way of writing that takes the most searches. `python -m stages.split` runs by turns with and without the table;
printed are seconds and processor seconds of each, and the medians of their ratios. Both ways give the same splits.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.common.params import NO_LABELS
from tests.support import clone_project


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        project = clone_project(Path(place))
        make(project.folder, arguments.images)
        project.set({"data.images": "mine", "image_size": 32})
        taken = {"folders": [], "table": []}
        manifests = set()
        for turn in range(arguments.turns):
            for way, labels in {"folders": NO_LABELS, "table": "labels.csv"}.items():
                project.set({"data.labels": labels})
                taken[way].append(measure(project))
                manifests.add((project.folder / "data/splits/train/manifest.csv").read_bytes())
                print(
                    f"{turn + 1}. {way}: {taken[way][-1][0]:.1f} s, {taken[way][-1][1]:.1f} s of processors", flush=True
                )
        assert len(manifests) == 1
    for number, name in enumerate(("time", "time of processors")):
        ratios = [with_table[number] / without[number] for without, with_table in zip(*taken.values(), strict=True)]
        print(f"{name}: ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def make(folder, count):
    """Writes images in class folders, and the table."""
    rng = np.random.default_rng(0)
    for number in range(10):
        (folder / f"mine/{number}").mkdir(parents=True)
    for index in range(count):
        image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((32, 32))
        image.save(folder / f"mine/{index % 10}/{index:06}.jpg")
    rows = [(f"{index:06}", str(index % 10)) for index in rng.permutation(count)]
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(folder / "labels.csv", index=False)


def measure(project):
    """Runs `split` and returns its time and that of processors, in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    project.stage("split")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
