"""DVC experiments: their names, parameters, metrics and predictions.

Names come from `dvc.api.exp_show`. Its values are text for a table, in which 100 and 100.0, or the parameter
`train.dropout` and the number of training images of a class "dropout", are the same: values come from
`dvc.api.params_show` and `dvc.api.metrics_show`.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import dvc.api
import pandas as pd
from dvc.exceptions import DvcException

from stages.common import files
from stages.common.cli import UserError


def names() -> list[str]:
    """Returns the names of the finished experiments of the commit that is checked out, sorted.

    Queued, running and failed experiments are left out: they have no results; DVC shows those of the commit for them.
    """
    try:
        rows = dvc.api.exp_show()
    except DvcException as error:
        raise UserError(f"the experiments cannot be listed ({error}). Run this inside the repository.") from None
    return sorted(row["Experiment"] for row in rows if row["Experiment"] and row["State"] in (None, "Success"))


def parameters(revision: str) -> dict[str, Any]:
    """Returns the parameters by dotted names, such as "finetune.learning_rate"."""
    with _one_line_error("params.yaml", revision):
        return pd.json_normalize(dvc.api.params_show("params.yaml", rev=revision)).to_dict("records")[0]


def scores(revision: str) -> pd.Series:
    """Returns the scores of both models in metrics/evaluate.json as a Series, "finetuned accuracy" and so on."""
    tree = _metrics("metrics/evaluate.json", revision)
    return pd.Series(
        {f"{model} {metric}": value for model in ("frozen", "finetuned") for metric, value in tree[model].items()}
    )


def counts(revision: str) -> tuple[int, int]:
    """Returns how many images the training split and the test split have."""
    split = _metrics("metrics/split.json", revision)
    return sum(split["train"].values()), sum(split["test"].values())


def predictions(revision: str) -> pd.DataFrame:
    """Returns plots/predictions.csv, a row per image of the test split."""
    with _one_line_error("plots/predictions.csv", revision):
        return files.read_csv(io.StringIO(dvc.api.read("plots/predictions.csv", rev=revision, encoding="utf-8")))


def _metrics(path: str, revision: str) -> dict[str, Any]:
    with _one_line_error(path, revision):
        return dvc.api.metrics_show(path, rev=revision)


@contextlib.contextmanager
def _one_line_error(path: str, revision: str) -> Iterator[None]:
    """Turns DVC's error, of a revision or a file in it that does not exist, into a UserError."""
    try:
        yield
    except (DvcException, OSError) as error:
        raise UserError(f"{path} of {revision}: {error}. `dvc exp show` lists the experiments.") from None
