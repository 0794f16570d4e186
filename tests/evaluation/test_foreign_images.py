import hashlib

import numpy as np
import pytest

from stages.evaluation import foreign_images


@pytest.mark.parametrize("size", [32, 96, 224])
def test_there_are_so_many_images_of_each_kind_and_no_two_are_equal(size):
    kinds = foreign_images.make(size)
    assert len(kinds) == 4
    for images in kinds.values():
        assert images.shape == (30, size, size, 3) and images.dtype == np.uint8
        assert len({image.tobytes() for image in images}) == 30


def test_the_bytes_are_the_same_each_time():
    np.random.seed(1)  # nobody else's random numbers matter
    first = foreign_images.make(64)
    np.random.seed(2)
    second = foreign_images.make(64)
    for kind, images in first.items():
        assert hashlib.sha256(images).digest() == hashlib.sha256(second[kind]).digest()


def test_the_images_are_what_their_kind_says():
    temple, portrait, drawings, patterns = foreign_images.make(64).values()
    assert all(image.std() > 10 for image in [*temple, *portrait])
    assert all((image > 200).all(axis=2).mean() > 0.4 and image.min() < 100 for image in drawings)  # light paper, ink
    plain = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in patterns]
    assert plain.count(1) > 3 and plain.count(2) > 3 and max(plain) > 100
