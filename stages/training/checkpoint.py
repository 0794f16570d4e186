"""Checkpoints: the state of training after its last finished epoch, from which a training that was stopped resumes."""

import contextlib
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.dataset import Split

DAYS = 7  # after which the state of a training that nobody resumed is removed
ROOMS = ("common", "model", "training")  # whose code decides what training computes


class Checkpoint:
    """One file in .checkpoints, outside of what DVC knows: DVC deletes a stage's outputs before it runs it.

    Its name is a hash of all that the training comes from, so a state is only found by the very same training. Two of
    these at a time (queued twice, say) do not get into each other's way: what they write is the same.

    Args:
        settings: the parameters of this training, of what JSON can hold.
        variables: Keras variables, all that it starts from.
        splits: what it is trained and validated on.
    """

    def __init__(self, settings: dict[str, Any], variables: Sequence[Any], splits: Sequence[Split]) -> None:
        self.path = folder() / f"{key(settings, variables, splits)}.npz"

    def beside(self, name: str) -> Path:
        """Returns the path of a file that is removed together with the state."""
        return self.path.with_suffix(f".{name}")

    def restore(self, variables: Sequence[Any]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Gives `variables` their values of the last finished epoch, where there is such a state.

        Args:
            variables: as given to `save`, as Keras variables.

        Returns:
            (rows, best) as given to `save`; both empty where there is no state, or an incomplete one.
        """
        try:
            with np.load(self.path) as file:
                rows, count = json.loads(str(file["rows"])), len(variables)
                values = [file[f"variable{number}"] for number in range(count)]
                best = [file[name] for name in file.files if name.startswith("best")]
        except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError, KeyError):
            return [], []
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        print(f"resuming after epoch {rows[-1]['epoch']}, where this training was stopped", flush=True)
        return rows, best

    def save(self, rows: list[dict[str, Any]], variables: Sequence[np.ndarray], best: Sequence[np.ndarray]) -> None:
        """Replaces the state.

        Args:
            rows: the history so far, of what JSON can hold.
            variables: all that changes in training, optimizer and random generators included, as arrays.
            best: arrays of the epoch that is kept so far: its validation logits, and its weights unless it is the last.
        """
        partial = self.path.with_suffix(f".{os.getpid()}.tmp")
        arrays: dict[str, Any] = {
            f"{kind}{number}": array
            for kind, values in {"variable": variables, "best": best}.items()
            for number, array in enumerate(values)
        }
        try:
            with partial.open("wb") as file:
                np.savez(file, rows=np.array(json.dumps(rows)), **arrays)
            with contextlib.suppress(FileNotFoundError):  # the same training, run twice at a time, has ended elsewhere
                os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the state, and what a kill in the middle of `save` left."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)


def folder() -> Path:
    """Returns .checkpoints at the root of the repository, also for a queued experiment, whose copy of it is gone when
    the experiment fails.

    What nobody has written for DAYS is removed from it.
    """
    here = Path.cwd()
    root = here.parents[3] if here.parent.parts[-3:] == (".dvc", "tmp", "exps") else here
    path = root / ".checkpoints"
    path.mkdir(exist_ok=True)
    for old in path.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if old.stat().st_mtime < time.time() - DAYS * 86400:
                old.unlink()
    return path


def key(settings: dict[str, Any], variables: Sequence[Any], splits: Sequence[Split]) -> str:
    """Returns a hash of what a computation comes from: its arguments, the code of the rooms, and package versions.

    Args:
        settings: of what JSON can hold.
        variables: Keras variables.
        splits: what is computed on.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for package in ("tensorflow", "keras", "numpy"):
        digest.update(metadata.version(package).encode())
    stages = Path(__file__).parents[1]
    for path in sorted(path for room in ROOMS for path in (stages / room).glob("*.py")):
        digest.update(path.read_bytes())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable).data)
    for split in splits:
        digest.update(split.sha256.encode())
    return digest.hexdigest()
