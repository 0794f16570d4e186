"""Experiments of DVC, read back: their parameters, metrics and predictions."""

import io
import json
import subprocess

import dvc.api
import pandas as pd
import ruamel.yaml
from dvc.exceptions import DvcException

from stages.common.cli import UserError

YAML = ruamel.yaml.YAML(typ="safe")  # reads 1e-05, which DVC writes, as a number


def names():
    """Returns the names of the experiments of the commit that is checked out, sorted."""
    head = _git("rev-parse", "HEAD").strip()
    refs = _git("for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}/").split()
    return sorted(ref.split("/", 4)[4] for ref in refs)


def read(path, revision):
    """Returns the text of a file as an experiment, or a revision of git, has it.

    Raises:
        UserError: there is no such revision, or not that file in it.
    """
    try:
        return dvc.api.read(path, rev=revision, encoding="utf-8")
    except (DvcException, OSError) as error:
        raise UserError(f"{path} of {revision}: {error}. `dvc exp show` lists the experiments.") from None


def parameters(revision):
    """Returns the parameters as a dict from dotted names to values."""
    return pd.json_normalize(YAML.load(read("params.yaml", revision))).to_dict("records")[0]


def scores(revision):
    """Returns the scores of both models in metrics/evaluate.json as a Series, "finetuned accuracy" and so on."""
    tree = json.loads(read("metrics/evaluate.json", revision))
    return pd.Series(
        {f"{model} {metric}": value for model in ("frozen", "finetuned") for metric, value in tree[model].items()}
    )


def counts(revision):
    """Returns how many images the training split and the test split have."""
    split = json.loads(read("metrics/split.json", revision))
    return tuple(sum(split[name].values()) for name in ("train", "test"))


def predictions(revision):
    """Returns plots/predictions.csv, a row per image of the test split."""
    return pd.read_csv(
        io.StringIO(read("plots/predictions.csv", revision)),
        keep_default_na=False,
        dtype=dict.fromkeys(["path", "actual", "predicted", "frozen"], str),
    )


def _git(*command):
    return subprocess.run(["git", *command], check=True, capture_output=True, text=True).stdout
