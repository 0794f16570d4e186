"""Measures how time, memory and disk use of every stage grow with the number of images.

    python -m tests.benchmarks.growth [--sizes 1000 10000 100000] [--image-size 160] [--out FOLDER]

For each size: made-up images of two classes, a fresh copy of this working tree, one epoch of either phase, `dvc repro`.
growth.json has all numbers; printed are milliseconds per image, of time and of processors, the memory of the largest
process in MB and the disk use per image in kB; growth.png shows time and memory.
"""

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tests.benchmarks.speed import COLOURS, measure, write_meter
from tests.support import clone_project

SIDE = 200  # pixels of the made-up images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--out", type=Path, help="default: a new temporary folder")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="growth-"))
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as place:
            place = Path(place)
            os.environ["DVC_SITE_CACHE_DIR"] = str(place / "site cache")
            make(place / "images", size)
            project = clone_project(place / "project")
            project.set(
                {
                    "data.images": str(place / "images"),
                    "image_size": arguments.image_size,
                    "train_frozen.epochs": 1,
                    "finetune.epochs": 1,
                }
            )
            project.run("python", "-m", "dvc", "repro", *map(str, sorted(project.folder.glob("data/*/dvc.yaml"))))
            project.commit()
            taken = measure(write_meter(place), project.folder, "-m", "dvc", "repro")
            disk = {name: used(project.folder / name) / size for name in ("data/splits", "data/models", ".dvc/cache")}
        rows += [
            {
                "images": size,
                "stage": stage,
                "seconds": seconds,
                "ms per image": 1000 * seconds / size,
                "CPU ms per image": 1000 * taken["part_cpu"][stage] / size,
                "peak MB": taken["part_peak"].get(stage),
            }
            for stage, seconds in taken["parts"].items()
        ]
        table = pd.DataFrame(rows)
        (out / "growth.json").write_text(json.dumps({"rows": rows, "disk": disk}, indent=2) + "\n")
        print(
            f"{size} images, {taken['wall']:.0f} s; kB on disk per image: "
            + ", ".join(f"{name} {kilobytes:.1f}" for name, kilobytes in disk.items())
        )
        for what in ("ms per image", "CPU ms per image", "peak MB"):
            print(
                f"\n{what}\n"
                + table.pivot(index="stage", columns="images", values=what)
                .loc[list(taken["parts"])]
                .to_string(float_format="{:.1f}".format, na_rep=""),
                flush=True,
            )
    draw(table).savefig(out / "growth.png", dpi=120)
    print(out / "growth.png")


def make(folder, count):
    """Writes `count` different images, JPEG, of two classes."""
    for name in ("blue", "red"):
        (folder / name).mkdir(parents=True)
    with multiprocessing.Pool() as pool:
        for _ in pool.imap_unordered(functools.partial(make_one, folder), range(count), chunksize=256):
            pass


def make_one(folder, number):
    """Writes one image: coarse and fine noise, with more of its class's colour."""
    rng = np.random.default_rng(number)
    pixels = sum(
        np.asarray(Image.fromarray(rng.integers(0, 120, (side, side, 3), np.uint8)).resize((SIDE, SIDE)), int)
        for side in (5, 40)
    )
    pixels[..., 2 - 2 * (number % 2)] += 15
    path = folder / ("blue", "red")[number % 2] / f"{number:06}.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def used(folder):
    """Returns the kB of the files under a folder, of each inode once."""
    return sum({(x := path.stat()).st_ino: x.st_size for path in folder.rglob("*") if path.is_file()}.values()) / 1000


def draw(table):
    """Draws milliseconds per image and memory of each stage over the number of images."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, what, label in (
        (left, "ms per image", "milliseconds per image"),
        (right, "peak MB", "memory of the process, MB"),
    ):
        for stage, part in table.groupby("stage", sort=False):
            if part[what].notna().all():
                axes.plot(part["images"], part[what], marker="o", label=stage, color=COLOURS[stage])
        axes.set_xscale("log")
        axes.set_ylim(0, None)
        axes.set_xlabel("images in the folder")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(*left.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.suptitle("One epoch of either phase")
    return figure


if __name__ == "__main__":
    main()
