"""Makes a large folder of images out of a small one: transformed copies of each, for the benchmarks.

    python -m tests.benchmarks.copies SOURCE TARGET TIMES [--size PIXELS] [--seed 0]

A copy is cropped by up to 20% of width and height at a place of its own and changed in brightness and contrast by as
much: TARGET/class/copyNNN_original.jpg, JPEG of quality 90. --size scales the longer side. The same seed makes the same
copies. Copies of which little was cropped count as near-duplicates and stay in one split.
"""

import argparse
import collections
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", type=Path)
    parser.add_argument("target", metavar="TARGET", type=Path)
    parser.add_argument("times", metavar="TIMES", type=int)
    parser.add_argument("--size", type=int, metavar="PIXELS")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    paths = sorted(path.relative_to(arguments.source) for path in arguments.source.rglob("[!.]*") if path.is_file())
    for path, count in collections.Counter(path.with_suffix("") for path in paths).items():
        if count > 1:
            parser.error(f"{count} images are called {path}: their copies would overwrite each other")
    for folder in {path.parent for path in paths}:
        (arguments.target / folder).mkdir(parents=True, exist_ok=True)
    with Pool() as pool:
        pool.starmap(partial(write_copies, arguments), enumerate(paths), chunksize=4)
    print(f"{len(paths) * arguments.times} images in {arguments.target}")


def write_copies(arguments, number, path):
    with Image.open(arguments.source / path) as file:
        if arguments.size:  # JPEG decodes to a fraction of its size in a fraction of the time
            file.draft("RGB", (2 * arguments.size, 2 * arguments.size))
        image = ImageOps.exif_transpose(file).convert("RGB")
    rng = np.random.default_rng([arguments.seed, number])
    for copy in range(arguments.times):
        target = arguments.target / path.parent / f"copy{copy:03}_{path.stem}.jpg"
        transformed(image, arguments.size, rng).save(target, quality=90)


def transformed(image, size, rng):
    """Crops, scales and brightens an image at random."""
    full = np.array(image.size)
    side = np.maximum(full * rng.uniform(0.8, 1, 2), 1)
    corner = rng.uniform(0, full - side)
    scale = size / side.max() if size else 1
    crop = image.resize(
        tuple(int(x) for x in np.maximum(np.round(scale * side), 1)),
        Image.Resampling.BILINEAR,
        box=(*corner, *(corner + side)),
        reducing_gap=2,
    )
    contrast, brightness = rng.uniform(0.8, 1.2, 2)
    levels = ((np.arange(256) - 127.5) * contrast + 127.5) * brightness
    return crop.point(np.clip(levels, 0, 255).astype(np.uint8).tolist() * 3)


if __name__ == "__main__":
    main()
