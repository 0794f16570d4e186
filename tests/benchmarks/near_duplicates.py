"""Measures recall and speed of near-duplicate detection.

    python -m tests.benchmarks.near_duplicates FOLDER [--size 224] [--sheet GROUPS.png]

FOLDER holds the images, one sub-folder per class. Of 100 of them transformed copies are made; the groups found among
the images themselves are listed, and drawn on a sheet to look at. Then 50,000 made-up fingerprints are grouped:
different ones, ones with a copy each, and ones with equal hashes; the time is compared with that of decoding as many
images.
"""

import argparse
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from stages.decoding.decode import decode
from stages.labels.files import find_files
from stages.splits import near_duplicates

MANY = 50_000
TRANSFORMS = ("JPEG quality 40", "half size", "+15% brightness", "3% crop", "PNG", "mirrored")


def transformed(image, transform):
    """Makes a copy of an RGB image; "3% crop" takes 3% of the width or height off each side."""
    width, height = image.size
    file = io.BytesIO()
    if transform == "half size":
        image = image.resize((width // 2, height // 2))
    elif transform == "+15% brightness":
        image = ImageEnhance.Brightness(image).enhance(1.15)
    elif transform == "3% crop":
        image = ImageOps.crop(image, (round(0.03 * width), round(0.03 * height)) * 2)
    elif transform == "mirrored":
        image = ImageOps.mirror(image)
    if transform == "PNG":
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=40 if transform == "JPEG quality 40" else 90)
    return Image.open(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    paths = [arguments.folder / image.path for image in find_files(arguments.folder)]
    start = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda path: decode(path, arguments.size)[2], paths))
    rate = len(paths) / (time.perf_counter() - start)
    start = time.perf_counter()
    fingerprints, thumbnails = map(np.array, zip(*map(near_duplicates.fingerprint, pixels), strict=True))
    fingerprinting = (time.perf_counter() - start) / len(paths)

    joined = pd.Series(paths).groupby(near_duplicates.find(fingerprints, thumbnails)).groups.values()
    joined = [rows for rows in joined if len(rows) > 1]
    print(f"{len(paths)} images, {len(joined)} groups of several; different images are false positives:")
    for rows in joined:
        print("   ", *(paths[row].relative_to(arguments.folder) for row in rows))
    if arguments.sheet and joined:
        sheet = Image.new("RGB", (max(map(len, joined)) * arguments.size, len(joined) * arguments.size))
        for y, rows in enumerate(joined):
            for x, row in enumerate(rows):
                sheet.paste(Image.fromarray(pixels[row]), (x * arguments.size, y * arguments.size))
        sheet.save(arguments.sheet)

    chosen = np.random.default_rng(0).permutation(len(paths))[:100]
    copies = [fingerprint_copies(paths[row], arguments.size) for row in chosen]
    groups = near_duplicates.find(
        *(np.concatenate(parts) for parts in zip((fingerprints, thumbnails), *copies, strict=True))
    )
    found = groups[len(paths) :].reshape(len(chosen), -1) == groups[chosen, np.newaxis]
    print(f"\nrecall, the fraction of copies in their original's group, of {len(chosen)} each:")
    print(pd.Series(found.mean(axis=0), TRANSFORMS).to_string(float_format="{:.2f}".format))

    print(f"\n{MANY} made-up fingerprints (decoding: {rate:.0f} images/s, {os.cpu_count()} cores):")
    seconds = {"fingerprints, one thread": MANY * fingerprinting}
    rng = np.random.default_rng(0)
    textured = fingerprints["hash"].any(axis=1)
    spread = rng.multivariate_normal(np.zeros(20), np.cov(fingerprints["hash"][textured].T), MANY)
    rows = rng.choice(np.flatnonzero(textured), MANY)
    for name, hashes in {
        "different": spread,
        "a copy of each": np.tile(spread[: MANY // 2], (2, 1)) + rng.normal(0, 1e-3, (MANY, 20)),
        "equal hashes, other pixels": np.ones((MANY, 20)),
    }.items():
        many = np.zeros(MANY, near_duplicates.FINGERPRINT)
        many["pixel_hash"] = np.arange(MANY)
        many["hash"] = hashes / np.linalg.norm(hashes, axis=1, keepdims=True)
        start = time.perf_counter()
        near_duplicates.find(many, thumbnails[rows])
        seconds[name] = time.perf_counter() - start
    table = pd.DataFrame({"seconds": seconds})
    table["of decoding"] = table["seconds"] / (MANY / rate)
    print(table.to_string(formatters={"seconds": "{:.1f}".format, "of decoding": "{:.1%}".format}))


def fingerprint_copies(path, size):
    """Fingerprints and thumbnails of an image's transformed copies."""
    results = []
    for transform in TRANSFORMS:
        copy = transformed(Image.open(path).convert("RGB"), transform)
        square = copy.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        results.append(near_duplicates.fingerprint(np.asarray(square)))
    return tuple(map(np.array, zip(*results, strict=True)))


if __name__ == "__main__":
    main()
