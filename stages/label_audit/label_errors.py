"""Label errors: the labels that cross-validated classifiers would change, and an estimate of how many are wrong.

The classifiers average a logistic regression and the nearest neighbours, as `python -m tests.benchmarks.label_audit`
chose: with 5% of the labels flipped, the average ranks them at least as high as logistic regression alone on alpacas,
faces, digits, flowers, cats and dogs, and on ten hand signs but for sets of 30 images each. Labels that it would keep
with a quality of 0.5 to 0.7 were flipped less often than the average label: they are not listed.

With shuffled labels the classifiers avoid at most 20% of the errors of a guess. Made weak, so that they avoid 50% to
60%, they overestimate the error rate by 19 points on average; from 80% on by less than 4. They hardly underestimate it.
"""

import numpy as np
import pandas as pd
from cleanlab.count import num_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from stages.common import files
from stages.common.arrays import Features, Groups, Labels, Probabilities
from stages.common.cli import counted
from stages.label_audit import cross_validation
from stages.label_audit.cross_validation import Folds
from stages.statistics import paired_test

NEIGHBOURS = 20  # maximum number of nearest neighbours
BANDWIDTH = 0.1  # scale of the kernel that weights the neighbours, in cosine similarity
LEAST_SKILL = 0.5  # fraction of the majority guess's errors that the classifiers must avoid


def average_with_neighbours(
    probabilities: Probabilities, features: Features, labels: Labels, folds: Folds
) -> Probabilities:
    """Returns the mean of out-of-sample probabilities and of those of the nearest neighbours in the other folds."""
    count = min(NEIGHBOURS, *(len(train) for train, _ in folds))
    classifier = KNeighborsClassifier(count, weights=_kernel, algorithm="brute")
    # Centred, because features behind a ReLU are all positive, and similar to one another.
    centred = normalize(features - features.mean(axis=0))
    return (probabilities + cross_validation.predict(classifier, centred, labels, folds)) / 2


def review(
    images: pd.DataFrame, groups: Groups, probabilities: Probabilities, classes: list[str]
) -> tuple[pd.DataFrame, float | None, float]:
    """Finds the labels that out-of-sample predictions, those of classifiers trained on other images, would change.

    Returns the rows of `rank` whose suggested class is not the given one, none if the predictions hardly beat guessing;
    `error_rate`; and the accuracy of the predictions. The images have path, split, class and label.
    """
    estimate = error_rate(images["label"].to_numpy(), groups, probabilities)
    table = rank(images, probabilities, classes)
    differs = table["suggested"] != table["given"]
    return table[differs & (estimate is not None)], estimate, float((~differs).mean())


def describe_review(
    count: int, error_rate: float | None, accuracy: float, images: int, path: str, reviewed: int = 0
) -> str:
    """Says what `review` found in so many images: its results, with the number of labels that the file at `path` lists.

    It lists none that people have reviewed; of the others, no number of wrong ones is estimated then. The terminal, the
    chart, the report and the model card all show this text.
    """
    if error_rate is None:
        return f"No label is checked: the cross-validated classifiers hardly beat guessing (accuracy {accuracy:.1%})."
    classifiers = f"the cross-validated classifiers (accuracy {accuracy:.1%})"
    if not count:
        besides = f" besides the {counted(reviewed, 'label')} that {'was' if reviewed == 1 else 'were'} reviewed"
        return f"No label is doubtful{besides if reviewed else ''}, by {classifiers}."
    doubtful = f"{counted(count, 'label')} of {images:,} {'is' if count == 1 else 'are'} doubtful"
    wrong = round(error_rate * images)
    if reviewed:
        estimate = f", besides {reviewed:,} that {'was' if reviewed == 1 else 'were'} reviewed"
    elif not error_rate:
        estimate = f"; {classifiers} make about as many mistakes, so perhaps no label is wrong"
    else:
        estimate = f"; {classifiers} estimate that about {wrong:,} {'is' if wrong == 1 else 'are'} wrong"
    return f"{doubtful}{estimate}. The most doubtful come first in {path}."


def rank(images: pd.DataFrame, probabilities: Probabilities, classes: list[str]) -> pd.DataFrame:
    """Ranks labels by the margin of their out-of-sample probability, the most doubtful first.

    The columns are path, split, given and suggested (top-1) class, quality, and the probabilities of both. Quality is
    cleanlab's normalized margin in [0, 1], (1 + probability of given - highest probability of another) / 2.
    """
    labels = images["label"].to_numpy()
    table = images[["path", "split", "class"]].rename(columns={"class": "given"})
    table["suggested"] = np.array(classes)[probabilities.argmax(axis=1)]
    table["quality"] = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    table["given_probability"] = probabilities[np.arange(len(labels)), labels]
    table["suggested_probability"] = probabilities.max(axis=1)
    # Only the digits that are written count: further ones, and so the order, differ from processor to processor.
    return table.sort_values("quality", kind="stable", key=lambda quality: quality.map(files.rounded))


def error_rate(labels: Labels, groups: Groups, probabilities: Probabilities) -> float | None:
    """Estimates the fraction of wrong labels from out-of-sample probabilities.

    The estimate is that of confident learning, calibrated (C. Northcutt, L. Jiang, I. Chuang, JAIR 70, 2021). It is
    None if the classifiers hardly beat guessing: their mistakes then say nothing about the labels.
    """
    if not beats_guessing(labels, groups, probabilities.argmax(axis=1) == labels):
        return None
    return float(num_label_issues(labels, probabilities, estimation_method="off_diagonal_calibrated") / len(labels))


def beats_guessing(labels: Labels, groups: Groups, correct: np.ndarray) -> bool:
    """Whether predictions, correct or not (bool [N]), are clearly better than guessing the majority class.

    They must be significantly better by the exact permutation test on groups, and avoid at least LEAST_SKILL of the
    guess's errors.
    """
    guess = labels == np.bincount(labels).argmax()
    gained = correct.astype(int) - guess
    p_value = paired_test.permutation_test(pd.Series(gained).groupby(groups).sum().to_numpy())
    return gained.sum() >= LEAST_SKILL * (~guess).sum() and p_value < paired_test.SIGNIFICANCE


def _kernel(distances: np.ndarray) -> np.ndarray:
    """Returns the weights of neighbours at Euclidean `distances`, float [N, K], between unit vectors."""
    dissimilarities = distances**2 / 2  # 1 - cosine similarity
    return np.exp((dissimilarities.min(axis=1, keepdims=True) - dissimilarities) / BANDWIDTH)
