"""Views of images: augmented, and what frozen layers make of that, computed once and kept on disk."""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stages.common import dataset, params
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError
from stages.training import strategy
from stages.training.augmentation import apply_transforms, identity_transforms, random_transforms

BATCH = 32  # images that the frozen layers compute at a time
STALE = 3600  # seconds since the last write after which a file that was not finished is taken for that of a killed run


class Views(Protocol):
    """Several views of each image of a split.

    Attributes:
        split: dataset.Split, of N images.
        count: number of views of each.
        spec: tf.TensorSpec, [None, ...], of what is read.
    """

    split: dataset.Split
    count: int
    spec: tf.TensorSpec

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray | tf.Tensor:
        """Returns [n, ...], of dtype and shape `spec`.

        Args:
            rows: int [n], the images.
            views: int [n], which view of each.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """One step of an epoch.

    Attributes:
        rows: int [n], which images of the split are in the step.
        shard: which of these this process computes, m of them.
        inputs: their views, [m, ...], of dtype and shape `spec`.
        labels: int64 [m].
    """

    rows: np.ndarray
    shard: strategy.Shard
    inputs: np.ndarray | tf.Tensor
    labels: np.ndarray


class Augmented:
    """Views that are pixels, computed as they are read: the first is the image itself, the others are augmented.

    Args:
        split: dataset.Split, of N images.
        augmentation: the group of params.yaml; needed for more than one view.
        seed: of the random numbers, which depend on it and on the number of the view alone.
        count: number of views.

    Attributes:
        settings: what a view depends on besides its image and its number, of what JSON can hold.
    """

    def __init__(
        self, split: dataset.Split, augmentation: params.Augmentation | None = None, seed: int = 0, count: int = 1
    ) -> None:
        self.split, self.count, images = split, count, len(split.labels)
        self.settings = {"seed": seed} | augmentation.model_dump() if augmentation else {}
        self.spec = tf.TensorSpec([None, split.image_size, split.image_size, 3], tf.float32)
        transforms = [identity_transforms(images)]
        if augmentation:
            rngs = [np.random.default_rng([seed, view]) for view in range(1, count)]
            transforms += [random_transforms(rng, images, split.image_size, augmentation) for rng in rngs]
        self._transforms = np.stack(transforms)

    def read(self, rows: np.ndarray, views: np.ndarray) -> tf.Tensor:
        return apply_transforms(self.split.pixels[rows], self._transforms[views, rows])


class Stored:
    """Views that are outputs of frozen layers, in files, one for each view.

    Args:
        source: Views that the layers take.
        frozen: the layers.
        path: of the files, without the number of the view at their end. Files of an earlier process are used again.
        dtype: of what is stored.

    Raises:
        UserError: the disk has no room for them.
    """

    def __init__(self, source: Views, frozen: keras.Model, path: Path, dtype: str) -> None:
        self.split, self.count = source.split, source.count
        self.spec = tf.TensorSpec([None, *frozen.output_shape[1:]], dtype)
        paths = [path.with_name(f"{path.name}{view}") for view in range(self.count)]
        files = [_open(path) for path in paths]
        # Workers compute a view together, so it is missing if any of them has lost it.
        missing = strategy.sum_over_workers(np.array([float(file is None) for file in files])) > 0
        shape = (len(self.split.labels), *frozen.output_shape[1:])
        _require_room(path.parent, math.prod(shape) * self.spec.dtype.size, int(missing.sum()))
        compute = strategy.per_device(
            lambda _, inputs: frozen(tf.cast(inputs, frozen.input.dtype)),
            [source.spec],
            lambda parts: tf.concat(parts, axis=0),
        )
        for view in np.flatnonzero(missing):
            process = f"{strategy.worker()}.{os.getpid()}"  # numbers of processes are no other's on one machine only
            began, partial = time.monotonic(), path.with_name(f"{paths[view].name}.{process}.tmp")
            try:
                file = files[view] = ArrayFile.create(partial, shape, self.spec.dtype.as_numpy_dtype)
                in_order = np.arange(shape[0]), np.full(shape[0], view)
                for batch in batches(source, [in_order], BATCH, f"view {view + 1} of {self.count}"):
                    file[batch.rows[0]] = strategy.gather(compute(batch.shard, batch.inputs), batch.shard)
                os.replace(partial, paths[view])
            finally:
                partial.unlink(missing_ok=True)
            if self.count > 1 and strategy.is_chief():
                seconds = time.monotonic() - began
                print(f"view {view + 1} of {self.count}: {shape[1:]} of each image ({seconds:.1f} s)", flush=True)
        self._files = [file for file in files if file]

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        inputs = np.empty((len(rows), *self.spec.shape[1:]), self.spec.dtype.as_numpy_dtype)
        for place, (row, view) in enumerate(zip(rows, views, strict=True)):
            inputs[place] = self._files[view][row]
        return inputs


def remove(paths: Iterable[Path]) -> None:
    """Removes files of stored views; of those that were not finished, the ones that a killed run has left."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if path.suffix != ".tmp" or path.stat().st_mtime < time.time() - STALE:
                path.unlink()


def batches(views: Views, passes: list[tuple[np.ndarray, np.ndarray]], batch_size: int, name: str) -> Iterator[Batch]:
    """Yields views of images step by step, read ahead, and shows progress on a terminal.

    Args:
        views: to read.
        passes: through the images; for each, int [N], the rows of the split in the order in which they come, and
            int [N], the view of each image.
        batch_size: rows in a step; the last of a pass may have fewer.
        name: to show.
    """
    steps = [
        (rows, of_image[rows], strategy.shard(len(rows)))
        for order, of_image in passes
        for rows in np.split(order, range(batch_size, len(order), batch_size))
    ]
    loaded = dataset.read_ahead(lambda step: views.read(step[0][step[2].own], step[1][step[2].own]), steps)
    with tqdm(None, name, sum(len(rows) for rows, _, _ in steps), unit="image", leave=False, disable=None) as progress:
        for (rows, _, shard), inputs in zip(steps, loaded, strict=True):
            yield Batch(rows, shard, inputs, views.split.labels[rows[shard.own]])
            progress.update(len(rows))


def _open(path: Path) -> ArrayFile | None:
    try:
        return ArrayFile(path)
    except FileNotFoundError:
        return None


def _require_room(folder: Path, view: int, missing: int) -> None:
    """Raises a UserError if the disk has no room for so many views of `view` bytes each."""
    free = shutil.disk_usage(folder).free
    if missing * view > free:
        raise UserError(
            f"{missing} views of the images need {missing * view / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB "
            "are free: free some, or lower train.views."
        )
