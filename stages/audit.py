"""Ranks all images by how doubtful their label is.

    python -m stages.audit

Reads all three splits and model.weights; writes data/audit/labels.csv (all images, the most doubtful first),
plots/label_audit.png (the most doubtful ones) and metrics/audit.json.

It reads the test split, and labels that training learns from: it is for people to read, and no stage may use what it
writes. It needs no trained model: the features are those of the base, which was never trained on these labels.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import numpy as np
import pandas as pd
from cleanlab.count import num_label_issues
from cleanlab.rank import get_label_quality_scores
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from stages.charts import base
from stages.common import cli, dataset, files, params
from stages.common.dataset import SPLITS
from stages.model.features import extract

FOLDS = 5
CHART_IMAGES = 25


@base.style()
def main() -> None:
    p = params.read("seed", "batch_size", "model")
    splits = {name: dataset.load(name) for name in SPLITS}
    features = extract(list(splits.values()), p.model.weights, p.batch_size)
    images = pd.concat([split.manifest.assign(split=name) for name, split in splits.items()])
    folds = fold_count(images["label"], images["group"])
    probabilities = cross_validate(features, images["label"], images["group"], folds, p.seed)
    table, label_error_rate = rank_labels(images, probabilities, splits["train"].classes)
    accuracy = float((table["given"] == table["suggested"]).mean())
    metrics = {"label_error_rate": label_error_rate, "cross_val_accuracy": accuracy, "folds": folds}
    with files.replacing(
        labels="data/audit/labels.csv", chart="plots/label_audit.png", metrics="metrics/audit.json"
    ) as out:
        files.write_csv(table, out.labels, errors="backslashreplace")
        base.save(draw(table[:CHART_IMAGES], splits), out.chart)
        files.write_json(metrics, out.metrics)
    print(
        f"{label_error_rate:.1%} of {len(table)} labels are estimated to be wrong, by classifiers that agree with "
        f"{accuracy:.1%} of them in {folds}-fold cross-validation. The most doubtful:\n{table[:10].to_string()}"
    )


def fold_count(labels: pd.Series, groups: pd.Series) -> int:
    """Returns FOLDS, or the number of groups in the class that has the fewest, so that each fold can have one of it."""
    return min(FOLDS, int(groups.groupby(labels).nunique().min()))


def cross_validate(features: np.ndarray, labels: pd.Series, groups: pd.Series, folds: int, seed: int) -> np.ndarray:
    """Returns out-of-sample class probabilities, float [N, C], from classifiers trained on the other folds.

    Args:
        features: float32 [N, D].
        labels: int [N], each of C classes in at least two groups.
        groups: [N], the same for near-duplicates, which must be in one fold: each would give away the other's label.
        folds: number of folds, at least 2.
        seed: of the division into folds.
    """
    # The features lie between 0 and 6 (ReLU6), which needs no scaling. Of C = 0.01, 0.1 and 1, the first gave estimates
    # nearest to the truth where 5% of the labels were flipped: a weaker regularisation memorises wrong labels.
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    divide = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(classifier, features, labels, groups=groups, cv=divide, method="predict_proba")


def rank_labels(images: pd.DataFrame, probabilities: np.ndarray, classes: list[str]) -> tuple[pd.DataFrame, float]:
    """Ranks labels by confident learning (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021), calibrated.

    Args:
        images: N rows with path, split, class and label.
        probabilities: float [N, C], out-of-sample.
        classes: C class names.

    Returns:
        DataFrame of N rows, the most doubtful first: path, split, given and suggested (top-1) class, quality and the
        probabilities of both; and the estimated label error rate in [0, 1]. Quality is cleanlab's normalized margin in
        [0, 1], (1 + probability of given - highest probability of another) / 2.
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
    # By the digits that are written: further ones, which differ from processor to processor, would change the order.
    order = table["quality"].map(files.rounded).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True), float(errors / len(labels))


def draw(table: pd.DataFrame, splits: dict[str, dataset.Split]) -> Figure:
    """Draws the images of a table that `rank_labels` made; red where the suggested label is not the given one."""
    rows = {(name, path): row for name, split in splits.items() for row, path in enumerate(split.manifest["path"])}
    pixels = np.stack([splits[x.split].pixels[rows[x.split, x.path]] for x in table.itertuples()])
    titles = [
        f"given {x.given_probability:.0%}: {x.given}\nsuggested {x.suggested_probability:.0%}: {x.suggested}"
        for x in table.itertuples()
    ]
    colours = [base.CORRECT if x.given == x.suggested else base.WRONG for x in table.itertuples()]
    return base.grid(pixels, titles, "Possible label errors, the most likely first", colours)


if __name__ == "__main__":
    cli.run(main)
