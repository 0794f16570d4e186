"""Views: outputs of the frozen part of the network for images and their augmentations, computed once, kept on disk."""

import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stages.common import dataset, params
from stages.common.array_file import ArrayFile
from stages.common.cli import UserError
from stages.training import strategy
from stages.training.augmentation import COLUMNS, apply_transforms, identity_transforms, random_transforms

BATCH = 64  # images that the frozen part computes at a time


class Views:
    """The views of the images of a split: the first is the image as it is, the others are augmented at random.

    A frozen part that does nothing has views that are augmented as they are read, and takes no room on disk.

    Args:
        split: dataset.Split, of N images.
        frozen: of network.split_at.
        path: of the files, one for each view, without the number at their end. Those of an earlier process that was
            stopped are used again.
        augmentation: the group of params.yaml; needed for more than one view.
        seed: of the random numbers, which depend on it and on the number of the view alone.
        count: number of views.
        dtype: of what is on disk.

    Raises:
        UserError: the disk has no room for them.
    """

    def __init__(
        self,
        split: dataset.Split,
        frozen: keras.Model,
        path: Path,
        augmentation: params.Augmentation | None = None,
        seed: int = 0,
        count: int = 1,
        dtype: str = "float32",
    ) -> None:
        self.split, self.count, images = split, count, len(split.labels)
        transforms = [identity_transforms(images)]
        for view in range(1, count):
            rng = np.random.default_rng([seed, view])
            transforms.append(random_transforms(rng, images, split.image_size, augmentation))
        self._transforms = np.stack(transforms)
        stored = len(frozen.layers) > 1  # one layer is the input
        self.spec = tf.TensorSpec([None, *frozen.output_shape[1:]], dtype if stored else tf.float32)
        self._files = self._store(frozen, path) if stored else []

    def read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray | tf.Tensor:
        """Returns [n, ...], of dtype and shape `spec`.

        Args:
            rows: int [n], the images.
            views: int [n], which view of each.
        """
        if not self._files:
            return apply_transforms(self.split.pixels[rows], self._transforms[views, rows])
        inputs = np.empty((len(rows), *self.spec.shape[1:]), self.spec.dtype.as_numpy_dtype)
        for place, (row, view) in enumerate(zip(rows, views, strict=True)):
            inputs[place] = self._files[view][row]
        return inputs

    def _store(self, frozen: keras.Model, path: Path) -> list[ArrayFile]:
        """Computes the views that are not there yet; returns all of them."""
        pixels = tf.TensorSpec([None, *frozen.input_shape[1:]], tf.uint8)
        compute = strategy.per_device(
            lambda _, pixels, transforms: frozen(apply_transforms(pixels, transforms)),
            [pixels, tf.TensorSpec([None, COLUMNS], tf.float32)],
            lambda parts: tf.concat(parts, axis=0),
        )
        shape = (len(self.split.labels), *frozen.output_shape[1:])
        paths = [path.with_name(f"{path.name}{view}") for view in range(self.count)]
        # Workers compute a view together, so it is missing if any of them has lost it.
        missing = strategy.sum_over_workers(np.array([float(not path.exists()) for path in paths])) > 0
        _require_room(path.parent, math.prod(shape) * self.spec.dtype.size, int(missing.sum()))
        for view in np.flatnonzero(missing):
            process = f"{strategy.worker()}.{os.getpid()}"  # numbers of processes are no other's on one machine only
            began, partial = time.monotonic(), path.with_name(f"{paths[view].name}.{process}.tmp")
            try:
                file = ArrayFile.create(partial, shape, self.spec.dtype.as_numpy_dtype)
                self._compute(compute, self._transforms[view], file, f"view {view + 1} of {self.count}")
                os.replace(partial, paths[view])
            finally:
                partial.unlink(missing_ok=True)
            if self.count > 1 and strategy.is_chief():
                print(f"view {view + 1} of {self.count} ({time.monotonic() - began:.1f} s)", flush=True)
        return [ArrayFile(path) for path in paths]

    def _compute(self, compute: Callable, transforms: np.ndarray, file: ArrayFile, progress: str) -> None:
        steps = np.split(np.arange(len(file)), range(BATCH, len(file), BATCH))
        shards = [strategy.shard(len(rows)) for rows in steps]
        own = [rows[shard.own] for rows, shard in zip(steps, shards, strict=True)]
        with tqdm(None, progress, len(file), unit="image", leave=False, disable=None) as bar:
            for rows, shard, (pixels, _) in zip(steps, shards, dataset.batches(self.split, own), strict=True):
                file[rows[0]] = strategy.gather(compute(shard, pixels, transforms[rows[shard.own]]), shard)
                bar.update(len(rows))


def _require_room(folder: Path, view: int, missing: int) -> None:
    """Raises a UserError if the disk has no room for so many views of `view` bytes each."""
    free = shutil.disk_usage(folder).free
    if missing * view > free:
        raise UserError(
            f"{missing} views of the images need {missing * view / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB "
            "are free: free some, or lower train.views."
        )
