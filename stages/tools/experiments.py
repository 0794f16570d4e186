"""DVC experiments: runs of them, their names, parameters, metrics and predictions.

Names come from `dvc.api.exp_show`. Its values are text for a table, in which 100 and 100.0, or the parameter
`train.dropout` and a metric of that name, are the same: values come from `dvc.api.params_show` and from files of the
experiment.
"""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
import pygit2
import ruamel.yaml
from dvc.exceptions import DvcException
from hydra.core.override_parser.types import Quote, QuotedString
from scmrepo.exceptions import SCMError

from stages.common import dataset, files, params, tracked
from stages.common.cli import UserError

# What DVC passes on of a folder without git, of a clone that belongs to another user, or of a broken one.
REPOSITORY_ERRORS = (DvcException, SCMError, pygit2.GitError)
YAML = ruamel.yaml.YAML(typ="safe")  # as DVC reads values: 1e-05 is a number


def setting(text: str) -> tuple[str, Any]:
    """Returns the key and the value of a text such as "finetune.fine_tune_at=100".

    What is no number, boolean, null or text in quotes is a text as it stands: a path may have any characters.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text} must be KEY=VALUE, such as finetune.fine_tune_at=100.")
    try:
        loaded = YAML.load(value)
    except ruamel.yaml.YAMLError:
        return key, value
    quoted = isinstance(loaded, str) and value[0] in "'\""
    return key, loaded if quoted or value == "null" or isinstance(loaded, int | float) else value


def override(change: str) -> str:
    """Returns a text such as "data.images=data/my pics" as -S takes it, with a text in quotes (Hydra's grammar)."""
    key, value = setting(change)
    if not isinstance(value, str):
        return change
    escaped = value.replace("${", "\\${")  # which OmegaConf would interpolate
    return f"{key}={QuotedString(escaped, Quote.single).with_quotes()}"


def check_paths(changes: Iterable[str]) -> None:
    """Raises a UserError if params.yaml is wrong or temporary copies would lack a file that they read: before any runs.

    Args:
        changes: texts such as "data.images=data/mine"; without this key, the images are those of params.yaml.
    """
    given = [setting(change) for change in changes]
    current = params.read("data", "model")
    for key in ("data.images", "data.labels", "model.weights"):
        group, name = key.split(".")
        for path in [str(value) for other, value in given if other == key] or [getattr(getattr(current, group), name)]:
            tracked.check(path, in_copies=True)


@contextlib.contextmanager
def run(name: str, changes: Sequence[str]) -> Iterator[Iterable[str]]:
    """Runs an experiment in a temporary copy, as far as the stage plot.

    If the block fails, the experiment is interrupted as by Ctrl-C, and DVC removes the copy.

    Args:
        name: of the experiment.
        changes: texts such as "finetune.fine_tune_at=100".

    Yields:
        the lines of its standard output, as they come, to be read to the end.

    Raises:
        UserError: it failed.
    """
    command = ["dvc", "exp", "run", "--temp", "--name", name]
    command += [part for change in changes for part in ("-S", override(change))] + ["plot"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which the background of a script ignores
    )
    try:
        yield process.stdout or ()
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        raise
    finally:
        process.communicate()
    if process.returncode:
        raise UserError(
            f"experiment {name} failed, see above. Those before it are kept: correct the cause and run this again."
        )


def epochs(lines: Iterable[str]) -> Iterator[tuple[int, float]]:
    """Yields number and validation loss of the epochs of which the lines of `run` tell."""
    for line in lines:
        match = re.match(r" *(\d+)(?: +\d+\.\d{4}){3} +(\d+\.\d{4}) +\d+\.\d$", line)  # as history.format_epoch has it
        if match:
            yield int(match[1]), float(match[2])


def commit() -> str:
    """Returns the hash of the commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "HEAD"], text=True, stdout=subprocess.PIPE).stdout.strip()


def names() -> list[str]:
    """Returns the names of the finished experiments of the commit that is checked out, sorted.

    Queued, running and failed experiments are left out: they have no results; DVC shows those of the commit for them.
    """
    try:
        rows = dvc.api.exp_show()
    except REPOSITORY_ERRORS as error:
        raise UserError(
            f"the experiments cannot be listed ({error}). Run this in a git clone of your own: docs/troubleshooting.md."
        ) from None
    return sorted(row["Experiment"] for row in rows if row["Experiment"] and row["State"] in (None, "Success"))


def parameters(revision: str, required: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the parameters by dotted names, such as "finetune.learning_rate".

    Raises:
        UserError: one that is required is not among them.
    """
    with _one_line_error("params.yaml", revision):
        found = pd.json_normalize(dvc.api.params_show("params.yaml", rev=revision)).to_dict("records")[0]
    for key in required:
        if key not in found:
            raise UserError(f"{key} is not a parameter of {revision}: see params.yaml.")
    return found


def scores(revision: str) -> pd.Series:
    """Returns all scores of both models as a Series, "finetuned accuracy" and so on."""
    tree = _json("data/evaluation/metrics.json", revision)
    return pd.Series(
        {f"{model} {metric}": value for model in ("frozen", "finetuned") for metric, value in tree[model].items()}
    )


def validation(revision: str) -> dict[str, float]:
    """Returns val_accuracy and val_loss of the fine-tuned model."""
    tree = _json("data/training/finetune.json", revision)
    return {metric: tree[metric] for metric in ("val_accuracy", "val_loss")}


def counts(revision: str) -> tuple[list[int], list[int]]:
    """Returns how many images of each class the training split and the test split have, in the order of the classes."""
    split = _json("data/splits/summary.json", revision)
    return list(split["train"].values()), list(split["test"].values())


def hashes(revision: str) -> dict[str, dict[str, str]]:
    """Returns what dvc.lock says of each stage: {stage: {path of a dependency or output: its MD5}}."""
    with _one_line_error("dvc.lock", revision):
        stages = YAML.load(dvc.api.read("dvc.lock", rev=revision))["stages"]
    return {
        name: {file["path"]: file.get("md5", "") for file in stage.get("deps", []) + stage.get("outs", [])}
        for name, stage in stages.items()
    }


def classes(revision: str) -> list[str]:
    """Returns the class names, sorted."""
    return list(_json("data/splits/summary.json", revision)["test"])


def predictions(revision: str) -> pd.DataFrame:
    """Returns plots/predictions.csv, a row per image of the test split."""
    with _one_line_error("plots/predictions.csv", revision):
        return files.read_csv(io.StringIO(dvc.api.read("plots/predictions.csv", rev=revision, encoding="utf-8")))


@contextlib.contextmanager
def test_split(revision: str) -> Iterator[dataset.Split]:
    """Opens a copy of the test split, which is deleted at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir="data") as folder:
        with _one_line_error("data/splits", revision):
            project = dvc.api.DVCFileSystem(rev=revision)
            for name in ("test", "classes.json"):
                project.get(f"{dataset.ROOT}/{name}", f"{folder}/{name}", recursive=True)
        yield dataset.load("test", folder)


def array(path: str, revision: str) -> np.ndarray:
    """Reads a .npy file."""
    with _one_line_error(path, revision):
        return np.load(io.BytesIO(dvc.api.read(path, rev=revision, mode="rb")))


def _json(path: str, revision: str) -> dict[str, Any]:
    with _one_line_error(path, revision):
        return json.loads(dvc.api.read(path, rev=revision, encoding="utf-8"))


@contextlib.contextmanager
def _one_line_error(path: str, revision: str) -> Iterator[None]:
    """Turns DVC's error, of a revision or a file in it that does not exist, into a UserError."""
    try:
        yield
    except (*REPOSITORY_ERRORS, OSError) as error:
        raise UserError(f"{path} of {revision}: {error}. `dvc exp show` lists the experiments.") from None
