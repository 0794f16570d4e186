"""The last commit: its files, from git, and its predictions on the test split, from DVC's cache."""

import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
import yaml

from stages.common import dataset, files
from stages.common.result_tables import PREDICTIONS

TEST = f"{dataset.ROOT}/test"
SUMMARY = f"{dataset.ROOT}/summary.json"


def read(path: str | Path) -> str | None:
    """Returns a file of the last commit, or None where there is no git, no commit or no such file."""
    try:
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{path}"], capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    return None if shown.returncode else shown.stdout


@dataclass(frozen=True)
class Lock:
    """What dvc.lock says of a run: the MD5 hashes of its images and of the outputs of split and evaluate, by path."""

    images: str
    outputs: dict[str, str]

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Reads the text of dvc.lock; returns None if there is none, or no run in it."""
        try:
            tree = yaml.safe_load(text or "")
            split, evaluate = (tree["stages"][name] for name in ("split", "evaluate"))
            folder = split["params"]["params.yaml"]["data"]["images"]
            images = next(dependency["md5"] for dependency in split["deps"] if dependency["path"] == folder)
            return cls(images, {output["path"]: output["md5"] for output in (*split["outs"], *evaluate["outs"])})
        except (yaml.YAMLError, ValueError, LookupError, TypeError, StopIteration):
            return None


@dataclass(frozen=True)
class OtherTest:
    """The run of the last commit, where its test split is another than today's.

    Attributes:
        images_changed: whether data.images has changed; if not, only their division into splits has.
        total: number of images in all splits, None if DVC's cache lacks it.
        predictions: plots/predictions.csv with a column sha256 of the image files, None if DVC's cache lacks it.
    """

    images_changed: bool
    total: int | None
    predictions: pd.DataFrame | None

    @classmethod
    def find(cls) -> Self | None:
        """Compares dvc.lock with that of the last commit; returns None if the test splits are the same, or unknown."""
        committed, path = read("dvc.lock"), Path("dvc.lock")
        now = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        if committed == now:
            return None
        before, after = Lock.parse(committed), Lock.parse(now)
        if not before or not after or before.outputs.get(TEST) == after.outputs.get(TEST):
            return None
        cache = _cache()
        try:
            splits = json.loads(_cached(cache, before.outputs[SUMMARY]))
            total = sum(sum(splits[name].values()) for name in dataset.SPLITS)
        except (OSError, ValueError, LookupError):
            total = None
        try:
            table = files.read_csv(io.BytesIO(_cached(cache, before.outputs[PREDICTIONS])), errors="backslashreplace")
            parts = {part["relpath"]: part["md5"] for part in json.loads(_cached(cache, before.outputs[TEST]))}
            manifest = files.read_csv(io.BytesIO(_cached(cache, parts["manifest.csv"])))
            predictions = table.assign(sha256=manifest["sha256"])  # a row per image, in the same order
        except (OSError, ValueError, LookupError):
            predictions = None
        return cls(before.images != after.images, total, predictions)


def _cache() -> Path:
    from dvc.config import Config  # takes 0.2 seconds

    settings: Any = Config(".dvc")
    return Path(settings.get("cache", {}).get("dir") or ".dvc/cache") / "files" / "md5"


def _cached(cache: Path, md5: str) -> bytes:
    """Returns a file of DVC's cache by its hash; of a folder, the JSON list of its files."""
    return (cache / md5[:2] / md5[2:]).read_bytes()
