"""The state of a training after its last finished epoch, from which a training that was stopped goes on."""

import contextlib
import hashlib
import json
import os
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np

DAYS = 7  # for which the state of a training that nobody went on with is kept


class Checkpoint:
    """One file in .checkpoints, outside of what DVC knows: DVC deletes a stage's outputs before it runs it.

    Its name is a hash of all that the training comes from, so a state is only found by the very same training. Two of
    these at a time (queued twice, say) do not get into each other's way: what they write is the same.

    Args:
        settings: dict, whatever was set for this training.
        variables: list of Keras variables, all that it starts from.
        splits: list of dataset.Split, what it learns from and is watched with.
    """

    def __init__(self, settings, variables, splits):
        folder = _root() / ".checkpoints"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path.stat().st_mtime < time.time() - DAYS * 86400:
                path.unlink(missing_ok=True)
        self.path = folder / f"{_key(settings, variables, splits)}.npz"

    def load(self):
        """Returns (rows, variables, best) as given to `save`, or None where there is no such state, or no whole one."""
        try:
            with np.load(self.path) as file:
                names = {kind: [name for name in file.files if name.startswith(kind)] for kind in ("variable", "best")}
                return json.loads(str(file["rows"])), *([file[name] for name in names[kind]] for kind in names)
        except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError, KeyError):
            return None

    def save(self, rows, variables, best):
        """Replaces the state.

        Args:
            rows: list of dict, the history so far, of what JSON can hold.
            variables: all that changes in training, optimizer and random generators included, as arrays.
            best: the weights of the best epoch as arrays; empty if the last is to be kept.
        """
        partial = self.path.with_suffix(f".{os.getpid()}.tmp")
        arrays = {f"{kind}{number}": array
                  for kind, values in {"variable": variables, "best": best}.items() for number, array in enumerate(values)}
        try:
            with partial.open("wb") as file:
                np.savez(file, rows=np.array(json.dumps(rows)), **arrays)
            with contextlib.suppress(FileNotFoundError):  # the same training, run twice at a time, has ended elsewhere
                os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self):
        """Removes the state, and what a kill in the middle of `save` left."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)


def _root():
    """The root of the repository. Queued experiments run in a copy of it, which is gone when they fail: not that one."""
    here = Path.cwd()
    return here.parents[3] if here.parent.parts[-3:] == (".dvc", "tmp", "exps") else here


def _key(settings, variables, splits):
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for package in ("tensorflow", "keras", "numpy"):
        digest.update(metadata.version(package).encode())
    code = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
    stages = str(Path(__file__).parents[1])
    for path in sorted(x for x in code if x.startswith(stages)):
        digest.update(Path(path).read_bytes())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable))
    for split in splits:
        digest.update(np.ascontiguousarray(split.labels))
        for picture in range(len(split.labels)):
            digest.update(split.pixels[picture])
    return digest.hexdigest()
