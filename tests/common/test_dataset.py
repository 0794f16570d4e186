import numpy as np

from stages.common import dataset
from tests.support import make_split


def test_batches_are_rows_in_the_order_asked_for():
    split = make_split(10, ["a", "b", "c"])
    order = np.random.default_rng(0).permutation(10)
    batches = list(dataset.batches(split, [order[:4], order[4:8], order[8:]]))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate([pixels for pixels, _ in batches]), split.pixels[order])
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), split.labels[order])
