"""Overlap of new images with the splits of a run: the same files, the same pixels, and near-duplicates."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common import dataset
from stages.common.arrays import Groups
from stages.common.cli import UserError, enumeration, printable
from stages.common.dataset import SPLITS, Split
from stages.splits import near_duplicates
from stages.splits.near_duplicates import Fingerprints, Thumbnails


def exist(root: str | Path = dataset.ROOT) -> bool:
    """Tells whether any of the splits is there."""
    return any((Path(root) / name).is_dir() for name in SPLITS)


def find(
    sha256: pd.Series,
    fingerprints: Fingerprints,
    thumbnails: Thumbnails,
    identical: bool,
    root: str | Path = dataset.ROOT,
) -> tuple[pd.DataFrame, Groups]:
    """Finds the image of the splits that each of N new images is a copy of.

    Args:
        sha256: hashes of the new files, str [N].
        fingerprints, thumbnails: what near_duplicates.fingerprint returns for the new images.
        identical: only images with the same pixels count, and no near-duplicates.
        root: folder of the splits.

    Returns:
        split and path of that image, of several one in train before validation and test, empty where there is none,
        with the index of sha256; and the sets of near-duplicates of the new images, as near_duplicates.find numbers
        them.

    Raises:
        UserError: a split is missing, but others are there.
    """
    splits = [dataset.load(name, root) for name in SPLITS]
    known = pd.concat([x.manifest.assign(split=name) for name, x in zip(SPLITS, splits, strict=True)])
    packed = [_fingerprints(split, name) for name, split in zip(SPLITS, splits, strict=True)]
    all_fingerprints = np.concatenate([*(hashes for hashes, _ in packed), fingerprints])
    all_thumbnails = np.concatenate([*(images for _, images in packed), thumbnails[:]])
    sets = near_duplicates.find(all_fingerprints, all_thumbnails, identical)
    count, found = len(known), pd.DataFrame({"split": "", "path": ""}, sha256.index)
    for key, new in ((known["sha256"], sha256), (sets[:count], pd.Series(sets[count:], sha256.index))):
        first = known.assign(key=key).drop_duplicates("key").set_index("key")[["split", "path"]]
        matched = first.reindex(new).set_axis(new.index)
        found = found.where((found["split"] != "") | matched["split"].isna(), matched)
    return found, sets[count:]


def refuse_known(paths: pd.Series, copies: pd.DataFrame) -> list[str]:
    """Says in a line how many new images are copies of images in the test split; `copies` is what `find` returns.

    Raises:
        UserError: images are copies of images in train or validation.
    """
    copies = copies.assign(new=paths)
    known = copies[copies["split"].isin(["train", "validation"])]
    if len(known):
        named = [f"{printable(row.new)} ({row.split}: {printable(row.path)})" for row in known.itertuples()]
        raise UserError(
            f"{len(known)} of {len(paths)} images are in train or validation, or near-duplicates of images there, so "
            f"the model knows them; take them out: {enumeration(named)}"
        )
    tested = int((copies["split"] == "test").sum())
    return [f"{tested} of the images are in the test split, or near-duplicates of images there."] if tested else []


def _fingerprints(split: Split, name: str) -> tuple[Fingerprints, np.ndarray]:
    """Returns the fingerprints and the thumbnails of a split's images."""
    with ThreadPoolExecutor() as pool:  # Pillow resizes without Python's lock
        made = pool.map(lambda row: near_duplicates.fingerprint(split.pixels[row]), range(len(split.pixels)))
        rows = list(tqdm(made, f"comparing with {name}", len(split.pixels), unit="image", disable=None))
    return np.array([hashes for hashes, _ in rows]), np.array([thumbnail for _, thumbnail in rows])
