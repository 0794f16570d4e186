"""What a revision predicts for its test split, and the test images that two revisions have in common."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from stages.common.arrays import Probabilities
from stages.common.cli import UserError
from stages.evaluation import scores
from stages.labels import corrections
from stages.statistics import common_images
from stages.tools import experiments


@dataclass(frozen=True)
class EvaluatedRun:
    """The test split of a revision, and what its fine-tuned model predicts for it.

    Attributes:
        images: a row per image with path, sha256, group, actual, its class, and predicted.
        classes: names of the columns of `probabilities`.
        probabilities: None if DVC's cache lacks them.
        corrections: what experiments.corrections returns.
    """

    revision: str
    images: pd.DataFrame
    classes: list[str]
    probabilities: Probabilities | None
    corrections: pd.DataFrame | None

    @classmethod
    def read(cls, revision: str) -> Self:
        images, manifest = experiments.predictions(revision), experiments.test_manifest(revision)
        classes = experiments.classes(revision)
        try:
            probabilities = experiments.array("data/evaluation/probabilities.npy", revision)
        except UserError:
            probabilities = None
        unlike = probabilities is not None and probabilities.shape != (len(images), len(classes))
        if unlike or images["actual"].tolist() != manifest["class"].tolist():
            raise UserError(
                f"data/evaluation of {revision} is not of its data/splits/test: run `dvc repro` to the end."
            )
        images["sha256"] = manifest["sha256"]
        return cls(revision, images, classes, probabilities, experiments.corrections(revision))

    def is_same_as(self, other: Self) -> bool:
        """Returns whether images, labels and predictions are the same."""
        if self.probabilities is None or other.probabilities is None:
            return False
        return self.images.equals(other.images) and np.array_equal(self.probabilities, other.probabilities)

    def losses(self, rows: pd.Series, labels: pd.Series) -> np.ndarray:
        """Returns the cross-entropy of the predictions of images with these labels; NaN where that is not known."""
        if self.probabilities is None:
            return np.full(len(rows), np.nan)
        columns = pd.Index(self.classes).get_indexer(labels)
        return np.where(columns >= 0, scores.cross_entropy(columns, self.probabilities[rows]), np.nan)


def pair(a: EvaluatedRun, b: EvaluatedRun) -> pd.DataFrame:
    """Returns a row per test image that both runs have, in which the labels are those of `b`.

    Its columns are path, group and actual; whether `a` and `b` are right, bool; loss_a and loss_b, the cross-entropies,
    NaN where a run has no probabilities or does not know the class; known, whether `a` knows the class; own, whether
    `a` is right by its own label; and corrected, whether the label differs from that of `a` or from that of the data.
    """
    both = common_images.merge(*(x.images.assign(row=range(len(x.images))) for x in (a, b)))
    actual, corrected = both["actual_b"], both["actual_a"] != both["actual_b"]
    if b.corrections is not None:
        corrected |= both["sha256_b"].isin(b.corrections.loc[_changes(b.corrections), "sha256"])
    columns = {
        "path": both["path_b"],
        "group": both["group_b"],
        "actual": actual,
        "a": both["predicted_a"] == actual,
        "b": both["predicted_b"] == actual,
        "loss_a": a.losses(both["row_a"], actual),
        "loss_b": b.losses(both["row_b"], actual),
        "known": actual.isin(a.classes),
        "own": both["predicted_a"] == both["actual_a"],
        "corrected": corrected,
    }
    return pd.DataFrame(columns)


def count_corrections(a: EvaluatedRun, b: EvaluatedRun) -> dict[str, int]:
    """Returns how many corrections `b` has, and how many of them changed a label of the test split, confirmed one, or
    dropped an image on which `a` was tested.
    """
    if b.corrections is None:
        return {}
    table = b.corrections[b.corrections["decision"] != "unsure"]
    in_test, changes = table["split"] == "test", _changes(table)
    dropped = (table["decision"] == "drop") & table["sha256"].isin(a.images["sha256"])
    counts = {"changed": in_test & changes, "confirmed": in_test & ~changes, "dropped": dropped}
    return {"all": len(table)} | {name: int(which.sum()) for name, which in counts.items()}


def _changes(table: pd.DataFrame) -> pd.Series:
    """Returns which corrections give an image another label than the data."""
    return table["decision"].isin(corrections.LABELLING) & (table["given"] != table["label"])
