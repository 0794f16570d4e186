from pathlib import Path

import numpy as np
import pytest

from stages.common import features
from stages.common.cli import UserError
from tests.support import make_split

SPLITS = {name: make_split(count, ["a", "b"]) for name, count in {"train": 4, "validation": 3, "test": 2}.items()}


@pytest.fixture
def stored(workplace):
    """The features on disk, by split, in a working folder of their own."""
    arrays = {name: np.full((len(split.labels), 5), len(name), np.float16) for name, split in SPLITS.items()}
    for name, array in arrays.items():
        Path(features.FILES[name]).parent.mkdir(parents=True, exist_ok=True)
        np.save(features.FILES[name], array)
    return arrays


def test_they_are_those_of_one_split_after_the_other(stored):
    loaded = features.load(SPLITS)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, np.concatenate(list(stored.values())))


@pytest.mark.parametrize("name", SPLITS)
def test_features_that_are_missing_damaged_or_of_other_images_are_named(stored, name):
    path = Path(features.FILES[name])
    np.save(path, stored[name][1:])
    with pytest.raises(UserError, match=f"{path} is not of the images in data/splits/{name}: run `dvc repro`"):
        features.load(SPLITS)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=f"{path} is (missing|damaged)"):
        features.load(SPLITS)
    path.unlink()
    with pytest.raises(UserError, match=f"{path} is (missing|damaged)"):
        features.load(SPLITS)
