"""Tables of results, which the stages plot and report read: the columns that these need, and their types."""

from typing import Any

import pandas as pd

from stages.common import files
from stages.common.dataset import SPLITS


def _columns(texts: str, numbers: str = "", **others: type) -> dict[str, type]:
    """Returns the types of columns by name; names of texts and of floats are separated by blanks."""
    types: dict[str, Any] = dict.fromkeys(texts.split(), str) | others
    return types | dict.fromkeys(numbers.split(), float)


PREDICTIONS = "plots/predictions.csv"
CERTAIN = 0.99  # probability from which a prediction is certain: it is not among the least certain ones
COLUMNS = {
    PREDICTIONS: _columns("path actual predicted frozen", "probability margin", group=int),
    "data/evaluation/reliability.csv": _columns(
        "model", "from to confidence accuracy low high", calibrated=bool, support=int
    ),
    "data/evaluation/slices.csv": _columns(
        "attribute value range", "accuracy low high p_value", flagged=bool, support=int
    ),
    "data/evaluation/curves/roc.csv": _columns("class", "fpr tpr"),
    "data/evaluation/curves/precision_recall.csv": _columns("class", "recall precision"),
    "data/audit/labels.csv": _columns("path split given suggested", "given_probability suggested_probability"),
    "data/splits/unreadable.csv": _columns("path reason"),
    "data/splits/corrections.csv": _columns("path sha256 split decision given label note"),
    "data/splits/near_duplicates.csv": _columns("path class split", duplicates=int, classes_mix=int),
} | {f"data/splits/{name}/manifest.csv": _columns("sha256", label=int) for name in SPLITS}


def read(path: str) -> pd.DataFrame:
    """Reads the columns of one of these tables. Bytes of paths that are not UTF-8 become escapes, for people to read.

    Raises:
        UserError: the table is damaged, such as without a column, or with a text among numbers.
    """
    with files.checked(path):
        return files.read_csv(path, "backslashreplace", COLUMNS[path])[[*COLUMNS[path]]]
