"""Views of images: augmented pixels, and outputs of frozen layers for them, computed once and stored on disk."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stages.common import arrays, dataset, params
from stages.common.arrays import ArrayFile, Labels
from stages.common.cli import UserError, counted_bytes
from stages.model import onnx_engine
from stages.training import distribution, state_file
from stages.training.augmentation import apply_transforms, identity_transforms, random_transforms

BATCH = 32  # number of images that the frozen layers compute at a time
STALE = 3600  # seconds since the last write after which an incomplete file counts as that of a killed run


class Views(Protocol):
    """Several views of each image of a split."""

    split: dataset.Split
    count: int  # number of views of each image
    spec: tf.TensorSpec  # type of several views, [None, ...]

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray | tf.Tensor:
        """Returns one view of each of n images, [n, ...]: the rows of the images, and the numbers of the views."""


class Augmented:
    """Views that are pixels, computed as they are read: the first is the image itself, the others are augmented.

    The random numbers depend on the seed and the number of the view alone. More than one view needs an augmentation.
    `settings` holds the values that determine a view besides image and number, as JSON can hold them.
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

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray | tf.Tensor:
        pixels = self.split.pixels[rows]
        return apply_transforms(pixels, self._transforms[views, rows]) if views.any() else pixels.astype(np.float32)


class Stored:
    """Views that are outputs of frozen layers for other views, stored in a file for each view.

    `path` is that of the files without the number of the view. Whole files of an earlier process are used again.

    Raises:
        UserError: the disk has no room for them.
    """

    def __init__(self, source: Views, frozen: keras.Model, path: Path, dtype: str) -> None:
        self.split, self.count = source.split, source.count
        self.spec = tf.TensorSpec([None, *frozen.output_shape[1:]], dtype)
        paths = [path.with_name(f"{path.name}{view}") for view in range(self.count)]
        self._files: dict[int, ArrayFile] = {}
        for view, finished in enumerate(paths):
            with contextlib.suppress(FileNotFoundError):
                if state_file.is_whole(finished):
                    self._files[view] = ArrayFile(finished)  # kept open: another process may remove it
        # Workers compute a view together, so it is missing if any of them has lost it.
        absent = np.array([float(view not in self._files) for view in range(self.count)])
        missing = np.flatnonzero(distribution.sum_over_workers(absent))
        shape = (len(self.split.labels), *frozen.output_shape[1:])
        _require_room(path.parent, len(missing) * math.prod(shape) * self.spec.dtype.size, len(missing))
        engine, compute = _compile(frozen, source.spec)
        for view in missing.tolist():
            began, name = time.monotonic(), f"view {view + 1} of {self.count}"
            with state_file.replacing(paths[view]) as file:
                arrays.write_header(file, shape, dtype)
                for batch in batches(source, [(np.arange(shape[0]), np.full(shape[0], view))], BATCH, name):
                    outputs = np.zeros((len(batch.rows), *shape[1:]), np.float32)  # other workers add the other rows
                    outputs[batch.shard.own] = compute(batch.shard, batch.inputs)
                    file.write(distribution.sum_over_workers(outputs).astype(dtype))
            self._files[view] = ArrayFile(paths[view])
            if self.count > 1:
                seconds = time.monotonic() - began
                distribution.print_once(f"{name}: {shape[1:]} of each image ({engine}, {seconds:.1f} s)")

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        inputs = np.empty((len(rows), *self.spec.shape[1:]), self.spec.dtype.as_numpy_dtype)
        for place, (row, view) in enumerate(zip(rows, views, strict=True)):
            inputs[place] = self._files[view][row]
        return inputs


def _compile(frozen: keras.Model, spec: tf.TensorSpec) -> tuple[str, Callable]:
    """Returns the name of the engine that computes a model, and a function of a shard and its inputs to the outputs."""
    if onnx_engine.suits(frozen):
        run = onnx_engine.to_function(frozen)
        return "ONNX Runtime", lambda _, inputs: run(np.asarray(inputs, np.float32))

    def on_device(_: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        return frozen(tf.cast(inputs, frozen.input.dtype))

    return "TensorFlow", distribution.per_device(on_device, [spec], partial(tf.concat, axis=0))


def remove(views: Path) -> None:
    """Removes stored views whose paths begin so; an incomplete file only if a killed run has left it (STALE)."""
    for path in views.parent.glob(f"{views.name}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.suffix != ".tmp" or path.stat().st_mtime < time.time() - STALE:
                path.unlink()


@dataclass(frozen=True)
class Batch:
    """One step of an epoch."""

    rows: np.ndarray  # the images of the whole step, int [n]
    shard: distribution.Shard  # the part of them that this process computes
    inputs: np.ndarray | tf.Tensor  # views of the images of the shard
    labels: Labels  # labels of the images of the shard


def batches(views: Views, passes: list[tuple[np.ndarray, np.ndarray]], batch_size: int, name: str) -> Iterator[Batch]:
    """Yields views of images step by step, read ahead, and shows progress on a terminal.

    Each pass through the N images consists of the rows in their order, int [N], and the view of each image, int [N].
    The last step of a pass may have fewer images than `batch_size`. `name` is that of the progress bar.
    """
    labels = views.split.labels

    def read(step: tuple[np.ndarray, np.ndarray, distribution.Shard]) -> Batch:
        rows, view_of, shard = step
        own = rows[shard.own]
        return Batch(rows, shard, views.read(own, view_of[own]), labels[own])

    starts = range(batch_size, len(labels), batch_size)
    # Shards are determined in this thread, because the one that reads ahead has no strategy.
    steps = [(x, view_of, distribution.shard(len(x))) for order, view_of in passes for x in np.split(order, starts)]
    with tqdm(None, name, len(passes) * len(labels), unit="image", leave=False, disable=None) as progress:
        for batch in dataset.read_ahead(read, steps):
            yield batch
            progress.update(len(batch.rows))


def _require_room(folder: Path, size: int, count: int) -> None:
    """Raises a UserError if the disk has no room for so many views, of so many bytes together."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"{count} views of the images need {counted_bytes(size)} in {folder}, where {counted_bytes(free)} are "
            "free: free some, or lower train.views."
        )
