"""Flips labels at random and prints how many of them the audit ranks among its most doubtful 10%.

    dvc repro split && python -m tests.benchmarks.label_audit [--flipped 0.05] [--seeds 10]

It works on the images that data/splits holds, and changes no file. On the sample all of them are there at every seed.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse

import numpy as np
import pandas as pd

from stages import audit
from stages.common import dataset, params
from stages.common.dataset import SPLITS
from stages.model.features import extract


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flipped", type=float, default=0.05, help="fraction of the labels")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    p = params.read("batch_size", "model")
    splits = {name: dataset.load(name) for name in SPLITS}
    features = extract(list(splits.values()), p.model.weights, p.batch_size)
    images = pd.concat([split.manifest.assign(split=name) for name, split in splits.items()], ignore_index=True)
    classes = splits["train"].classes
    table = pd.DataFrame(
        [run(features, images, classes, arguments.flipped, seed) for seed in range(1, arguments.seeds + 1)],
        index=pd.RangeIndex(1, arguments.seeds + 1, name="seed"),
    )
    print(table.to_string(float_format="{:.3f}".format))
    print("\n" + table.agg(["mean", "min", "max"]).to_string(float_format="{:.3f}".format))


def run(features, images, classes, fraction, seed):
    """Flips a fraction of the labels.

    Returns:
        dict: found, the fraction of the flipped ones that is among the most doubtful 10%, and the audit's
            label_error_rate.
    """
    flipped, rows = flip(images, classes, fraction, seed)
    folds = audit.fold_count(flipped["label"], flipped["group"])
    probabilities = audit.cross_validate(features, flipped["label"], flipped["group"], folds, seed)
    table, label_error_rate = audit.rank_labels(flipped, probabilities, classes)
    doubtful = table["path"][: len(table) // 10]
    return {"found": images["path"][rows].isin(doubtful).mean(), "label_error_rate": label_error_rate}


def flip(images, classes, fraction, seed):
    """Gives a random fraction of the images another class; returns the new table and the rows that were changed."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(images), round(fraction * len(images)), replace=False)
    labels = images["label"].to_numpy(copy=True)
    labels[rows] = (labels[rows] + rng.integers(1, len(classes), len(rows))) % len(classes)
    return images.assign(label=labels, **{"class": np.array(classes)[labels]}), rows


if __name__ == "__main__":
    main()
