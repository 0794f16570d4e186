"""Counts how often predict --drift finds a difference between images of the same kind, and of changed or foreign ones.

    python -m tests.benchmarks.drift FOLDER... [--runs 200] [--images 1000] [--ungrouped]

    FOLDER       a project in which evaluate has run; the test images of the others are foreign to it
    --images N   maximum number of new images
    --ungrouped  compare all images of a group, as predict does where it does not know the groups

In each run, the validation and the test images are divided at random into two halves, which no group is in both of: one
stands for the validation images, the other for new images, as they are; 20% brighter or darker; blurred (Gaussian,
radius 1 pixel); or with 5, 10 or 25% of foreign images in their place. The threshold of novelty is set on the first
half. Prints the fraction of runs in which any property differs, and in which each does. In the first column, it is that
of false alarms. The changed images are predicted in a quarter of the runs.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from stages.common import dataset
from stages.evaluation import drift
from stages.model import saved_model

FOREIGN = 40  # images of each other project
BLUR = ImageFilter.GaussianBlur(1)
CHANGES = {
    "same": lambda image: image,
    "brighter": lambda image: Image.eval(image, lambda value: min(255, round(1.2 * value))),
    "darker": lambda image: Image.eval(image, lambda value: round(0.8 * value)),
    "blurred": lambda image: image.filter(BLUR),
}
MIXTURES = (5, 10, 25)  # percent of foreign images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--images", type=int, default=drift.MOST)
    parser.add_argument("--ungrouped", action="store_true")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        samples, groups = read(folder, [x for x in arguments.folders if x != folder])
        found = [
            result
            for seed in range(arguments.runs)
            for result in compare(samples, groups, seed, arguments, seed % 4 == 0)
        ]
        table = pd.DataFrame(found).groupby("images", sort=False).mean()
        print(f"\n{folder.name}: {len(groups)} images in {len(np.unique(groups))} groups")
        print(table.T.to_string(float_format="{:.3f}".format), flush=True)


def read(folder, others):
    """Returns the validation and test images of a project, changed in each way, and foreign ones; and the groups."""
    model = saved_model.load(folder / "data/models/classifier")
    splits = [dataset.load(name, folder / dataset.ROOT) for name in ("validation", "test")]
    manifest = pd.concat([split.manifest for split in splits], ignore_index=True)
    pixels = np.concatenate([split.pixels[:] for split in splits])
    sizes = manifest[["width", "height"]].to_numpy()
    samples = {}
    for name, change in CHANGES.items():
        samples[name] = sample(model, np.stack([np.asarray(change(Image.fromarray(x))) for x in pixels]), sizes)
    foreign = []
    for other in others:
        split = dataset.load("test", other / dataset.ROOT)
        rows = dataset.evenly_spaced(np.arange(len(split.pixels)), FOREIGN)
        squares = [Image.fromarray(split.pixels[row]).resize(pixels.shape[1:3]) for row in rows]
        foreign.append(sample(model, np.stack(squares), split.manifest[["width", "height"]].to_numpy()[rows]))
    if foreign:
        samples["foreign"] = join(foreign)
    return samples, manifest["group"].to_numpy()


def sample(model, pixels, sizes):
    outputs = [model.predict(pixels[row : row + 32]) for row in range(0, len(pixels), 32)]
    features, novelty = (np.concatenate([x[name].numpy() for x in outputs]) for name in ("features", "novelty"))
    return drift.Sample(features.astype(np.float16), drift.measure(pixels, sizes).assign(novelty=novelty))


def join(samples):
    tables = [x.table for x in samples]
    return drift.Sample(np.concatenate([x.features for x in samples]), pd.concat(tables, ignore_index=True))


def select(images, rows, threshold):
    table = images.table.iloc[rows]
    return drift.Sample(images.features[rows], table.assign(novelty=table["novelty"] / threshold))


def compare(samples, groups, seed, arguments, changed):
    """Yields which properties differ, by kind of new images, in one run."""
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(groups))
    is_reference = np.isin(groups, names[: len(names) // 2])
    known, new = np.flatnonzero(is_reference), np.flatnonzero(~is_reference)
    novelty = np.sort(samples["same"].table["novelty"].to_numpy()[known])
    threshold = novelty[min(len(novelty), int(np.ceil(0.95 * (len(novelty) + 1)))) - 1]  # as novelty.fit sets it
    known = known[np.unique(groups[known], return_index=True)[1]]
    if not arguments.ungrouped:
        new = new[np.unique(groups[new], return_index=True)[1]]
    new = random.permutation(new)[: arguments.images]
    reference = select(samples["same"], known, threshold)
    for name in CHANGES if changed else ["same"]:
        yield {"images": name} | differences(select(samples[name], new, threshold), reference)
    for percent in MIXTURES if changed and "foreign" in samples else []:
        count = max(1, round(percent / 100 * len(new)))
        rows = random.choice(len(samples["foreign"]), count, replace=count > len(samples["foreign"]))
        mixed = [select(samples["same"], new[count:], threshold), select(samples["foreign"], rows, threshold)]
        yield {"images": f"{percent}% foreign"} | differences(join(mixed), reference)


def differences(images, reference):
    found = {x.name: x.found for x in drift.compare(images, reference)}
    return {"any": any(found.values())} | found


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
