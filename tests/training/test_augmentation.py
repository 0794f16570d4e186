import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from stages.training import augmentation
from tests.training.support import make_params

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def transforms(count=40, seed=0, **changes):
    """Of images of 32 pixels; without changes they change nothing."""
    settings = make_params(**changes).augmentation
    return augmentation.random_transforms(np.random.default_rng(seed), count, 32, settings)


@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "horizontal_and_vertical"])
def test_is_what_keras_layers_do_one_after_the_other(flip):
    augmented = augmentation.apply_transforms(IMAGES, transforms(flip=flip, rotation=0.2)).numpy()
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


def test_without_any_augmentation_images_stay_as_they_are():
    for unchanging in (transforms(), augmentation.identity_transforms(40)):
        assert np.array_equal(augmentation.apply_transforms(IMAGES, unchanging), IMAGES)


def test_rotates_evenly_by_up_to_the_fraction_of_a_turn():
    a, b, *_ = transforms(10_000, rotation=0.05).T
    turns = np.arctan2(b, a) / (2 * np.pi)
    assert np.abs(turns).max() < 0.05 and abs(turns.mean()) < 0.001 and abs(np.abs(turns).mean() - 0.025) < 0.001


def test_crops_lie_in_the_image_and_have_at_least_the_fraction_of_its_area():
    a, b, c, d, e, f, *_ = transforms(10_000, crop=0.5).T
    assert not b.any() and not d.any()
    for side, place in ((a, c), (e, f)):
        first, last = -0.5 * side + place, 31.5 * side + place  # the edges of the image lie at -0.5 and 31.5
        assert -0.5 <= first.min() + 1e-5 and last.max() - 1e-5 <= 31.5
        gap = (first + 0.5) / (32 * (1 - side) + 1e-6)  # of the room that is left, the fraction on this side
        assert abs(gap[side < 0.9].mean() - 0.5) < 0.02 and gap[side < 0.9].std() > 0.25
    area, aspect = a * e, a / e
    assert 0.5 <= area.min() + 1e-5 < 0.51 and 0.98 < area.max() <= 1
    assert 3 / 4 <= aspect.min() + 1e-5 < 0.76 and 1.32 < aspect.max() - 1e-5 <= 4 / 3


def test_a_crop_is_enlarged_to_the_whole_image():
    ramps = np.broadcast_to(7 * np.arange(32)[:, np.newaxis], (32, 32, 3))  # of brightness, from left to right
    chosen = transforms(crop=0.5)
    augmented = augmentation.apply_transforms(np.repeat(ramps[np.newaxis], 40, axis=0), chosen)
    expected = 7 * (chosen[:, 0, np.newaxis] * np.arange(32) + chosen[:, 2, np.newaxis])
    inside = (expected > 0) & (expected < 7 * 31)
    assert inside.mean() > 0.9
    difference = augmented - expected[:, np.newaxis, :, np.newaxis]
    assert np.abs(difference.numpy().transpose(0, 2, 1, 3)[inside]).max() < 0.01


def test_factors_of_brightness_contrast_and_saturation_are_uniform_around_1():
    factors = transforms(10_000, brightness=0.1, contrast=0.2, saturation=0.3)[:, 8:]
    for column, strength in zip(factors.T, (0.1, 0.2, 0.3), strict=True):
        assert 1 - strength <= column.min() + 1e-6 and column.max() - 1e-6 <= 1 + strength
        assert abs(column.mean() - 1) < 0.01 and abs(np.abs(column - 1).mean() - strength / 2) < 0.003
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 0.05


def recoloured(image, brightness=1, contrast=1, saturation=1):
    factors = augmentation.identity_transforms(1)
    factors[:, 8:] = brightness, contrast, saturation
    return augmentation.apply_transforms(image[np.newaxis], factors).numpy()[0]


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_contrast_and_saturation_are_those_of_pillow(factor):
    for name, enhance in (("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)):
        expected = np.float32(enhance(Image.fromarray(IMAGES[0])).enhance(factor))  # rounds the mean and the grey level
        assert np.abs(recoloured(IMAGES[0], **{name: factor}) - expected).max() < 1.5
        assert np.abs(expected - IMAGES[0]).mean() > 10


def test_brightness_multiplies_the_mean_and_nothing_leaves_the_range():
    image = np.random.default_rng(0).integers(100, 151, (32, 32, 3)).astype(np.uint8)
    mean = (image @ np.array([0.299, 0.587, 0.114])).mean()
    np.testing.assert_allclose(recoloured(image, brightness=1.2) - image, 0.2 * mean, atol=0.01)
    for brightness, limit in ((0, 0), (2, 255)):
        values = recoloured(IMAGES[0], brightness=brightness)
        assert 0 <= values.min() and values.max() <= 255 and (values == limit).mean() > 0.1


@pytest.mark.parametrize("change", [{"rotation": 0.2}, {"crop": 0.5}, {"brightness": 0.3}])
def test_a_preview_shows_one_image_in_several_ways(change, tmp_path):
    augmentation.write_preview(tmp_path / "preview.npy", IMAGES[0], 1, make_params(**change).augmentation)
    shown = np.load(tmp_path / "preview.npy")
    assert shown.shape == (9, 32, 32, 3) and shown.dtype == np.uint8
    assert len({image.tobytes() for image in shown}) == 9
