"""Checkpoints: the state of training after its last finished epoch, from which a training that was stopped resumes."""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.dataset import Split
from stages.training import state_file

DAYS = 7  # days after which the state of a training that nobody resumed is removed
ROOMS = ("common", "model", "training")  # the rooms whose code determines what training computes


class Checkpoint:
    """The state of one training, a file in .checkpoints: DVC deletes a stage's outputs before it runs the stage.

    The file's name is the `key` of the training, so only the very same training finds its state. Two processes with the
    same training at a time write the same state.
    """

    def __init__(self, settings: dict[str, Any], variables: Sequence[Any], splits: Sequence[Split]) -> None:
        self.path = folder() / f"{key(settings, variables, splits)}.npz"

    def beside(self, name: str) -> Path:
        """Returns the path of a file that is removed together with the state."""
        return self.path.with_suffix(f".{name}")

    def restore(self, variables: Sequence[Any]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Gives the variables of `save` their values of the last finished epoch, and returns its rows and best arrays.

        If there is no undamaged state, the variables stay as they are, and both results are empty.
        """
        content = b""
        with contextlib.suppress(FileNotFoundError):
            if state_file.is_whole(self.path):
                content = self.path.read_bytes()[: -state_file.SIZE]
        if not content:
            return [], []
        with np.load(io.BytesIO(content)) as file:
            rows = json.loads(str(file["rows"]))
            arrays = [file[f"arr_{number}"] for number in range(len(file) - 1)]  # names that np.savez gives
        for variable, value in zip(variables, arrays, strict=False):  # the best arrays follow
            variable.assign(value)
        print(f"resuming after epoch {rows[-1]['epoch']}, where this training was stopped", flush=True)
        return rows, arrays[len(variables) :]

    def save(self, rows: list[dict[str, Any]], variables: Sequence[np.ndarray], best: Sequence[np.ndarray]) -> None:
        """Replaces the state.

        It holds the history so far, the values of all variables that training changes, the optimizer's included, and of
        the best epoch its validation logits and averaged weights.
        """
        content = io.BytesIO()
        np.savez(content, *variables, *best, rows=np.array(json.dumps(rows)))
        # Another process with the same training may have ended, and removed what this one is writing.
        with contextlib.suppress(FileNotFoundError), state_file.replacing(self.path) as file:
            file.write(content.getbuffer())

    def remove(self) -> None:
        """Removes the state, the files beside it, and the incomplete ones that a killed process left."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)


def folder() -> Path:
    """Returns .checkpoints at the root of the repository, and removes files older than DAYS from it.

    A queued experiment uses that folder, too: its own copy of the repository is gone when it fails.
    """
    here = Path.cwd()
    root = here.parents[3] if here.parent.parts[-3:] == (".dvc", "tmp", "exps") else here
    path = root / ".checkpoints"
    path.mkdir(exist_ok=True)
    for old in path.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if old.is_file() and old.stat().st_mtime < time.time() - DAYS * 86400:
                old.unlink()
    return path


def key(settings: dict[str, Any], variables: Sequence[Any], splits: Sequence[Split]) -> str:
    """Returns a hash of all that determines a computation: its arguments, the code of ROOMS, and package versions.

    JSON can hold the settings; the variables have their initial values.
    """
    versions = [metadata.version(package) for package in ("tensorflow", "keras", "numpy", "onnxruntime")]
    texts = [settings, versions, [split.sha256 for split in splits]]
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for room in ROOMS:
        for path in sorted((Path(__file__).parents[1] / room).glob("*.py")):
            digest.update(path.read_bytes())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable).data)
    return digest.hexdigest()
