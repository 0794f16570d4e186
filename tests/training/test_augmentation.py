import keras
import numpy as np
import pytest

from stages.common import params
from stages.training import augmentation
from tests.support import ROOT

DEFAULTS = params.read("augmentation", path=ROOT / "params.yaml").augmentation
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def transforms(flip, rotation, count=40, seed=0):
    settings = DEFAULTS.model_copy(update={"flip": flip, "rotation": rotation})
    return augmentation.random_transforms(np.random.default_rng(seed), count, 32, settings)


@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "horizontal_and_vertical"])
def test_is_what_keras_layers_do_one_after_the_other(flip):
    augmented = augmentation.apply_transforms(IMAGES, transforms(flip, 0.2)).numpy()
    rotation = keras.layers.RandomRotation(0.2)
    flips = {(0, 0): slice(None), (1, 0): np.s_[:, ::-1], (0, 1): np.s_[::-1], (1, 1): np.s_[::-1, ::-1]}
    rng = np.random.default_rng(0)  # the same draws
    flipped = rng.random((40, 2)) < np.where([flip.startswith("horizontal"), flip.endswith("vertical")], 0.5, 0)
    degrees = rng.uniform(-1, 1, 40) * 0.2 * 360
    for image, seen, turns, angle in zip(IMAGES, augmented, flipped, degrees, strict=True):
        given = np.float32(image)[flips[tuple(turns.astype(int))]]
        rotation.factor = (angle / 360, angle / 360)
        np.testing.assert_allclose(seen, rotation(given[np.newaxis], training=True)[0], atol=0.05)
    assert len({tuple(turns) for turns in flipped}) == {"none": 1, "horizontal_and_vertical": 4}.get(flip, 2)


def test_without_flip_and_rotation_images_stay_as_they_are():
    assert np.array_equal(augmentation.apply_transforms(IMAGES, transforms("none", 0)), IMAGES)


def test_rotates_evenly_by_up_to_the_fraction_of_a_turn():
    a, b, *_ = transforms("none", 0.05, 10_000).T
    turns = np.arctan2(b, a) / (2 * np.pi)
    assert np.abs(turns).max() < 0.05 and abs(turns.mean()) < 0.001 and abs(np.abs(turns).mean() - 0.025) < 0.001


def test_a_preview_shows_one_image_in_several_ways():
    shown = augmentation.preview(IMAGES[0], 1, DEFAULTS.model_copy(update={"rotation": 0.2}))
    assert shown.shape == (9, 32, 32, 3) and shown.dtype == np.uint8
    assert len({image.tobytes() for image in shown}) == 9
