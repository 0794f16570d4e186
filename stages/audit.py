"""Ranks all images by how doubtful their label is.

    python -m stages.audit

Reads all three splits and model.weights; writes data/audit/labels.csv (all images, the most doubtful first),
plots/label_audit.png (the most doubtful ones) and metrics/audit.json.

It looks at the test split, and at labels that training learns from: it is for people to read, and no stage may use what
it writes. Nor does it need a trained model. The base is frozen, so that its features know of no label.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import numpy as np
import pandas as pd
import tensorflow as tf
from cleanlab.count import num_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from tqdm import tqdm

from stages.charts import base
from stages.common import cli, dataset, files, params
from stages.common.dataset import SPLITS
from stages.model import network
from stages.model.backend import release_memory

FOLDS = 5
SHOWN = 25  # images on the contact sheet


def main():
    p = params.read("seed", "batch_size", "model")
    splits = {name: dataset.load(name) for name in SPLITS}
    with files.replacing(
        labels="data/audit/labels.csv", sheet="plots/label_audit.png", metrics="metrics/audit.json"
    ) as out:
        features = extract(list(splits.values()), p.model.weights, p.batch_size)
        images = pd.concat([split.manifest.assign(split=name) for name, split in splits.items()])
        folds = fold_count(images["label"], images["group"])
        probabilities = cross_validate(features, images["label"], images["group"], folds, p.seed)
        table, label_error_rate = rank_labels(images, probabilities, splits["train"].classes)
        files.write_csv(table, out.labels, errors="backslashreplace")
        base.save(draw(table[:SHOWN], splits), out.sheet)
        accuracy = float((table["given"] == table["suggested"]).mean())
        files.write_json(
            {"label_error_rate": label_error_rate, "cross_val_accuracy": accuracy, "folds": folds}, out.metrics
        )
    print(
        f"{label_error_rate:.1%} of {len(table)} labels are estimated to be wrong, by classifiers that agree with "
        f"{accuracy:.1%} of them in {folds}-fold cross-validation. The most doubtful:\n{table[:10].to_string()}"
    )


def extract(splits, weights, batch_size):
    """Returns the pooled output of the base with the weights of a file, float32 [N, 1280], for all images of splits.

    The pixels are read from disk batch by batch; the features, 5 kB an image, stay in memory.
    """
    model = network.build(splits[0].image_size, len(splits[0].classes))
    network.load_base(model, weights)
    pooled, _ = network.split_head(model)
    signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)]
    step = tf.function(pooled, autograph=False, input_signature=signature)
    counts = [len(split.labels) for split in splits]
    features = np.empty((sum(counts), pooled.output_shape[1]), np.float32)
    done = 0
    with tqdm(None, "looking at images", sum(counts), unit="image", disable=None) as progress:
        for split, count in zip(splits, counts):
            batches = np.split(np.arange(count), range(batch_size, count, batch_size))
            for pixels, _ in dataset.batches(split, batches):
                features[done : done + len(pixels)] = step(pixels)
                done += len(pixels)
                progress.update(len(pixels))
    release_memory()  # scikit-learn copies four fifths of the features
    return features


def fold_count(labels, groups):
    """Returns FOLDS, or the number of groups in the class that has the fewest, so that each fold can have one of it."""
    return min(FOLDS, int(groups.groupby(labels).nunique().min()))


def cross_validate(features, labels, groups, folds, seed):
    """Returns the class probabilities, float [N, C], from classifiers that learned from the images of other folds.

    Args:
        features: float32 [N, D].
        labels: int [N], each of C classes in at least two groups.
        groups: [N], the same for images that must be in one fold, because one would vouch for the other's label.
        folds: number of folds, at least 2.
        seed: of what goes into which fold.
    """
    # The features lie between 0 and 6 (ReLU6), which needs no scaling. Of C = 0.01, 0.1 and 1, the first gave estimates
    # nearest to the truth where 5% of the labels were flipped: a weaker regularisation learns wrong labels by heart.
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    divide = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(classifier, features, labels, groups=groups, cv=divide, method="predict_proba")


def rank_labels(images, probabilities, classes):
    """Compares given labels with out-of-sample probabilities.

    Args:
        images: N rows with path, split, class and label.
        probabilities: float [N, C].
        classes: list of C names.

    Returns:
        A DataFrame of N rows, the most doubtful first: path, split, given and suggested (the likeliest) class, quality
        and the probabilities of both; and the estimated share of wrong labels, float in [0, 1]. Quality is cleanlab's
        normalized margin in [0, 1], (1 + probability of given - probability of the likeliest other) / 2. The share is
        by confident learning (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021), calibrated, as cleanlab advises for
        few classes.
    """
    labels = images["label"].to_numpy()
    table = pd.DataFrame(
        {
            "path": images["path"].to_numpy(),
            "split": images["split"].to_numpy(),
            "given": images["class"].to_numpy(),
            "suggested": np.array(classes)[probabilities.argmax(axis=1)],
            "quality": get_label_quality_scores(labels, probabilities, method="normalized_margin"),
            "given_probability": probabilities[np.arange(len(labels)), labels],
            "suggested_probability": probabilities.max(axis=1),
        }
    )
    errors = num_label_issues(labels, probabilities, estimation_method="off_diagonal_calibrated")
    return table.sort_values("quality", kind="stable", ignore_index=True), float(errors / len(labels))


def draw(table, splits):
    """Draws the images of `table`, as `rank_labels` returns it, side by side; red where the suggested label is another."""
    rows = {(name, path): row for name, split in splits.items() for row, path in enumerate(split.manifest["path"])}
    pixels = np.stack([splits[x.split].pixels[rows[x.split, x.path]] for x in table.itertuples()])
    titles = [
        f"given {x.given_probability:.0%}: {x.given}\nsuggested {x.suggested_probability:.0%}: {x.suggested}"
        for x in table.itertuples()
    ]
    colours = [base.RIGHT if x.given == x.suggested else base.WRONG for x in table.itertuples()]
    return base.grid(pixels, titles, "Labels worth a second look, the most doubtful first", colours)


if __name__ == "__main__":
    cli.run(main)
