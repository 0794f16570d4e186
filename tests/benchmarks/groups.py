"""Compares test accuracy where images of a group may be in several splits with that where each group is in one.

    dvc repro split && python -m tests.benchmarks.groups [--seeds 5]

It divides the images that data/splits holds anew for each seed, both ways, and changes no file. The classifier is a
logistic regression on the features of MobileNetV2 before training, with the C that has the lowest log loss on the
validation split.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from stages.common import params
from stages.common.dataset import SPLITS
from stages.splits import assign
from tests.benchmarks import support


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(1, parser.parse_args().seeds + 1)
    p = params.read("data")
    _, images, features = support.read_images()
    images, features = images.assign(split=""), normalize(features)
    groups = {"by image": images["duplicates"], "by group": images["group"]}
    with threadpool_limits(1):  # small products are slower with more on a busy machine
        rows = {
            way: [accuracy(features, images.assign(group=group), p.data, seed) for seed in seeds]
            for way, group in groups.items()
        }
    table = pd.DataFrame(rows, pd.Index(seeds, name="seed"))
    print(table.to_string(float_format="{:.3f}".format))
    print(table.agg(["mean", "std"]).to_string(float_format="{:.3f}".format))


def accuracy(features, images, data, seed):
    """Returns the accuracy on the test split of a seed."""
    split, labels = assign.to_splits(images, data, seed), images["label"].to_numpy()
    train, validation, test = (np.flatnonzero(split == name) for name in SPLITS)
    heads = [LogisticRegression(C=c, max_iter=1000).fit(features[train], labels[train]) for c in (1, 10, 100)]
    best = min(heads, key=lambda head: log_loss(labels[validation], head.predict_proba(features[validation])))
    return best.score(features[test], labels[test])


if __name__ == "__main__":
    main()
