"""DVC experiments: runs of them, their names, parameters, metrics and predictions.

Names come from `dvc.api.exp_show`. Its values are text for a table, which does not tell 100 from 100.0, nor a parameter
from a metric of that name: values come from `dvc.api.params_show` and from files of the experiment.
"""

import collections
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_origin

import dvc.api
import numpy as np
import pandas as pd
import pygit2
import ruamel.yaml
from dvc.exceptions import DvcException, FileMissingError, PathMissingError
from dvc_data.index import DataIndexError
from hydra.core.override_parser.types import Quote, QuotedString
from scmrepo.exceptions import SCMError

from stages.common import dataset, files, params, tracked, yaml_file
from stages.common.cli import UserError
from stages.common.phases import FINETUNE, PHASES

# Errors of DVC in a folder without git, in another user's clone, or in a broken one.
REPOSITORY_ERRORS = (DvcException, SCMError, pygit2.GitError)
WORKSPACE = "workspace"  # DVC's name of what is checked out, with all that `dvc repro` has made, committed or not
Parsed = TypeVar("Parsed")
YAML = ruamel.yaml.YAML(typ="safe")  # DVC's reader of values, to which 1e-05 is a number


def setting(text: str) -> tuple[str, Any]:
    """Returns the key and the value of a change such as "finetune.fine_tune_at=100".

    The value is a number, a boolean, null, a text in quotes, of a parameter such as data.classes a list, or else the
    text as it stands: a path has any characters.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text} must be KEY=VALUE, such as finetune.fine_tune_at=100.")
    try:
        loaded = YAML.load(value)
    except (ruamel.yaml.YAMLError, ValueError, LookupError, AssertionError, RecursionError):
        return key, value
    quoted = isinstance(loaded, str) and value[0] in "'\""
    field = dict(params.fields()).get(key)
    is_list = isinstance(loaded, list) and field is not None and get_origin(field.annotation) is list
    return key, loaded if quoted or is_list or value == "null" or isinstance(loaded, int | float) else value


def override(change: str) -> str:
    """Returns a change such as "data.images=data/my pics" as -S takes it, with a text in quotes (Hydra's grammar)."""
    key, value = setting(change)
    if not isinstance(value, str):
        return change
    escaped = value.replace("${", "\\${")  # OmegaConf would interpolate ${...}
    return f"{key}={QuotedString(escaped, Quote.single).with_quotes()}"


def check_changes(changes: Iterable[str]) -> None:
    """Raises a UserError if a change is malformed, its key or value is wrong, or a parameter changes twice."""
    given = [setting(change) for change in changes]
    for key, count in Counter(key for key, _ in given).items():
        if count > 1:
            raise UserError(f"{key} is set {count} times: this tool sets it, or you did. Give it once, or not at all.")
    params.check_changes(given)


def check_paths(changes: Iterable[str]) -> None:
    """Raises a UserError if params.yaml is wrong, or temporary copies would lack a file that it or a change names."""
    given = [setting(change) for change in changes]
    p = params.read("data", "model")
    current = {f"data.{name}": getattr(p.data, name) for name in ("images", "labels", "corrections")}
    current["model.weights"] = p.model.weights
    for key, default in current.items():
        for path in [str(value) for changed, value in given if changed == key] or [default]:
            tracked.check(path, in_copies=True)


@contextlib.contextmanager
def run(name: str, changes: Sequence[str]) -> Iterator[Iterable[str]]:
    """Runs an experiment in a temporary copy, as far as the stage plot, and yields the lines of its output.

    The output is that to standard output and error together: DVC draws no progress bars where it is no terminal.
    The block reads the lines to the end. If it fails, the experiment is interrupted as by Ctrl-C, and DVC removes the
    copy. A UserError says that it failed. `changes` are texts such as "finetune.fine_tune_at=100".
    """
    command = ["dvc", "exp", "run", "--temp", "--name", name]
    for change in changes:
        command += ["-S", override(change)]
    accept_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a script's background ignores them
    options: dict[str, Any] = {"start_new_session": True, "preexec_fn": accept_interrupts}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*command, "plot"], **streams, **options)
    try:
        yield process.stdout or ()
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        raise
    finally:
        process.communicate()
    if process.returncode:
        remedy = "Those before it are kept: correct the cause and run this again."
        raise UserError(f"experiment {name} failed, see above. {remedy}")


def epochs(lines: Iterable[str]) -> Iterator[tuple[int, float]]:
    """Yields number and validation loss of each epoch that stands in the output of `run` (history.format_epoch)."""
    for line in lines:
        if match := re.match(r" *(\d+)(?: +\d+\.\d{4}){3} +(\d+\.\d{4}) +\d+\.\d$", line):
            yield int(match[1]), float(match[2])


def commit() -> str:
    """Returns the hash of the commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "HEAD"], text=True, stdout=subprocess.PIPE).stdout.strip()


def names() -> list[str]:
    """Returns the names of the finished experiments of the commit that is checked out, sorted.

    Queued, running and failed experiments have no results: DVC shows those of the commit for them.
    """
    try:
        rows = dvc.api.exp_show()
    except REPOSITORY_ERRORS as error:
        remedy = "Run this in a git clone of your own: docs/troubleshooting.md."
        raise UserError(f"the experiments cannot be listed ({error}). {remedy}") from None
    return sorted(row["Experiment"] for row in rows if row["Experiment"] and row["State"] in (None, "Success"))


def parameters(revision: str, required: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the parameters by dotted names. Raises a UserError if a required one does not exist."""
    with _one_line_error("params.yaml", revision):
        found = pd.json_normalize(_params(revision)).to_dict("records")[0]
    for key in required:
        if key not in found:
            raise UserError(f"{key} is not a parameter of {revision}: see params.yaml.")
    return found


def scores(revision: str) -> pd.Series:
    """Returns all scores of both models as a Series, "finetuned accuracy" and so on."""

    def parse(data: bytes) -> pd.Series:
        tree = json.loads(data)
        return pd.concat([pd.Series(tree[phase.model], dtype=float).add_prefix(f"{phase.model} ") for phase in PHASES])

    return _read("data/evaluation/metrics.json", revision, parse)


def validation(revision: str) -> dict[str, float]:
    """Returns val_accuracy and val_loss of the fine-tuned model."""

    def parse(data: bytes) -> dict[str, float]:
        metrics = json.loads(data)
        return {name: metrics[name] for name in ("val_accuracy", "val_loss")}

    return _read(FINETUNE.metrics, revision, parse)


def counts(revision: str, split: str) -> dict[str, int]:
    """Returns the number of images of each class, sorted by name, in a split."""
    return _read("data/splits/summary.json", revision, lambda data: json.loads(data)[split])


def hashes(revision: str) -> dict[str, dict[str, str]]:
    """Returns the MD5 hashes in dvc.lock of dependencies and outputs, by stage and path."""

    def parse(stages: dict[str, Any]) -> dict[str, dict[str, str]]:
        of_stages = {name: stage.get("deps", []) + stage.get("outs", []) for name, stage in stages.items()}
        return {name: {file["path"]: file.get("md5", "") for file in found} for name, found in of_stages.items()}

    return _read_lock(revision, parse)


def is_run(revision: str) -> bool:
    """Whether results as far as fine-tuning are of the parameters in params.yaml and of each other, by dvc.lock."""

    def parse(stages: dict[str, Any]) -> tuple[list, dict, list]:
        first = [stages[name] for name in ("split", *(phase.stage for phase in PHASES))]
        made = {file["path"]: file["md5"] for stage in first for file in stage["outs"]}
        used = [(file["path"], file.get("md5")) for stage in first for file in stage["deps"]]
        return [x for stage in first for x in stage["params"]["params.yaml"].items()], made, used

    try:
        set_to, made, used = _read_lock(revision, parse)
        current = _params(revision)
        result = _content(FINETUNE.metrics, revision)
    except UserError:  # no results, or none in the cache
        return False
    return (
        all(current.get(key) == value for key, value in set_to)
        and all(made.get(path, digest) == digest for path, digest in used)
        and made.get(FINETUNE.metrics) == hashlib.md5(result).hexdigest()
    )


def predictions(revision: str) -> pd.DataFrame:
    """Returns plots/predictions.csv, a row per image of the test split."""

    def parse(data: bytes) -> pd.DataFrame:
        table = files.read_csv(io.StringIO(data.decode()))
        if missing := {"path", "actual", "predicted", "frozen", "group"} - {*table}:
            raise LookupError(missing)
        return table

    return _read("plots/predictions.csv", revision, parse)


def test_manifest(revision: str) -> pd.DataFrame:
    """Returns path, class and sha256 of the images of the test split, in the order of their predictions."""
    return _read("data/splits/test/manifest.csv", revision, lambda data: _texts(data)[["path", "class", "sha256"]])


def classes(revision: str) -> list[str]:
    """Returns the names of all classes, sorted."""
    return _read(dataset.CLASSES, revision, json.loads)


def corrections(revision: str) -> pd.DataFrame | None:
    """Returns data/splits/corrections.csv, a row per correction of an image, or None if the split wrote none."""
    path = f"{dataset.ROOT}/corrections.csv"
    if path not in hashes(revision)["split"]:
        return None
    return _read(path, revision, lambda data: _texts(data)[["sha256", "split", "decision", "given", "label"]])


def _texts(data: bytes) -> pd.DataFrame:
    return files.read_csv(io.BytesIO(data), types=collections.defaultdict(lambda: str))


@contextlib.contextmanager
def test_split(revision: str) -> Iterator[dataset.Split]:
    """Opens a copy of the test split, which is deleted at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir="data") as folder:
        with _one_line_error("data/splits", revision):
            project = dvc.api.DVCFileSystem(rev=_rev(revision))
            for path in (*project.find(f"{dataset.ROOT}/test"), f"{dataset.ROOT}/classes.json"):
                target = Path(folder, Path(path).relative_to(dataset.ROOT))
                target.parent.mkdir(exist_ok=True)
                project.get_file(path, str(target))
                _check(project, path, target.read_bytes(), revision)
        yield dataset.load("test", folder)


def array(path: str, revision: str) -> np.ndarray:
    return _read(path, revision, lambda data: np.load(io.BytesIO(data)))


def _params(revision: str) -> dict[str, Any]:
    with _one_line_error("params.yaml", revision):
        return dvc.api.params_show("params.yaml", rev=_rev(revision))


def _read_lock(revision: str, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    """Returns what `parse` makes of the stages in dvc.lock."""
    return _read("dvc.lock", revision, lambda data: parse(yaml_file.parse(data, f"dvc.lock of {revision}")["stages"]))


def _rev(revision: str) -> str | None:
    return None if revision == WORKSPACE else revision


def _read(path: str, revision: str, parse: Callable[[bytes], Parsed]) -> Parsed:
    with _one_line_error(path, revision):
        data = _content(path, revision)
    with files.checked(f"{path} of {revision}"):
        return parse(data)


def _content(path: str, revision: str) -> bytes:
    content = dvc.api.read(path, rev=_rev(revision), mode="rb")
    _check(dvc.api.DVCFileSystem(rev=_rev(revision)), path, content, revision)
    return content


def _check(project: dvc.api.DVCFileSystem, path: str, content: bytes, revision: str) -> None:
    """Raises a UserError if a file in DVC's cache, which DVC reads unchecked, is not what dvc.lock says."""
    info = project.info(path)
    expected = None if "fs_info" in info else info["dvc_info"].get("md5")
    if expected and hashlib.md5(content).hexdigest() != expected:
        place = os.path.relpath(project.repo.cache.local.oid_to_path(expected))
        remedy = f"Delete {place}, then `dvc exp remove {revision}`, and run this again."
        raise UserError(f"{path} of {revision} is damaged in DVC's cache. {remedy}")


@contextlib.contextmanager
def _one_line_error(path: str, revision: str) -> Iterator[None]:
    """Turns DVC's error about a missing revision, or a file that it lacks, into a UserError."""
    try:
        yield
    except (DataIndexError, FileMissingError, PathMissingError):
        remedy = "Run `dvc repro`" if revision == WORKSPACE else "Name one that was run here, or `dvc pull` its results"
        raise UserError(f"{path} of {revision} is neither in git nor in DVC's cache. {remedy}.") from None
    except (*REPOSITORY_ERRORS, OSError, ValueError, LookupError, RecursionError) as error:  # the last are of YAML
        remedy = "Run `dvc repro`." if revision == WORKSPACE else "`dvc exp show` lists the experiments."
        raise UserError(f"{path} of {revision}: {error}. {remedy}") from None
