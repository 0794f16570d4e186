import io

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageOps
from scipy import fft

from stages.splits import near_duplicates
from tests.benchmarks.near_duplicates import TRANSFORMS, transformed


def photographs(count, seed=0, side=128):
    """Made-up images whose amplitudes fall with the frequency, as in photographs."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.mgrid[1 : side + 1, 1 : side + 1])[..., np.newaxis] ** 1.3
    for _ in range(count):
        waves = rng.normal(size=(side, side, 1)) + 0.3 * rng.normal(size=(side, side, 3))  # more brightness than colour
        pixels = fft.idctn(waves / frequency, axes=(0, 1))
        yield Image.fromarray(np.clip(110 + 45 * pixels / pixels.std(), 0, 255).astype(np.uint8))


def group(images, size=64):
    squares = (np.asarray(x.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) for x in images)
    fingerprints, thumbnails = zip(*map(near_duplicates.fingerprint, squares), strict=True)
    return near_duplicates.find(np.array(fingerprints), np.array(thumbnails))


@pytest.mark.parametrize("size", [32, 160])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_copies_join_their_originals_and_nothing_else(transform, size):
    originals = list(photographs(100))
    groups = group([*originals, *(transformed(x, transform) for x in originals)], size)
    assert (groups[:100] == np.arange(100)).all()
    assert (groups[100:] == np.arange(100)).mean() >= 0.95


def test_copies_of_copies_join():
    [image] = photographs(1)
    chain = [image.crop((cut, cut, 128 - cut, 128 - cut)) for cut in range(0, 16, 4)]
    assert len(set(group([chain[0], chain[-1]]))) == 2
    assert len(set(group(chain))) == 1


def test_more_copies_than_an_image_has_neighbours_join():
    [image] = photographs(1)
    crop = transformed(image, "3% crop")
    copies = []
    for source in (image, crop):
        for quality in range(60, 90):
            file = io.BytesIO()
            source.save(file, "JPEG", quality=quality)
            copies.append(Image.open(file))
    assert len(set(group(copies))) == 1


def test_numbers_by_first_appearance_whatever_the_order():
    images = [y for x in photographs(4) for y in (x, transformed(x, "half size"))]
    assert group(images).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert group([images[x] for x in (7, 2, 0, 6, 1, 3)]).tolist() == [0, 1, 2, 0, 2, 1]
    assert group(images[:1]).tolist() == [0]


def test_images_without_contrast_join_only_if_they_are_identical():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 3, (64, 64, 3), np.uint8)) for _ in range(20)]
    black = Image.new("RGB", (64, 64))
    assert group([black, *noise, black]).tolist() == [*range(21), 0]
    faint = np.linspace(0, 6, 64).astype(np.uint8)[:, np.newaxis].repeat(64, axis=1)
    other = faint.copy()
    other[0, 0] = 9
    assert group([Image.fromarray(x) for x in (faint, other, faint)]).tolist() == [0, 1, 0]


def test_small_things_on_white_do_not_join():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(300):
        image = Image.new("RGB", (160, 160), "white")
        for _ in range(rng.integers(1, 3)):
            centre, radius = 160 * rng.uniform(0.3, 0.7, 2), 160 * rng.uniform(0.05, 0.25, 2)
            draw = ImageDraw.Draw(image)
            shape = rng.choice([draw.ellipse, draw.rectangle])
            shape([*(centre - radius), *(centre + radius)], fill=tuple(rng.integers(0, 200, 3).tolist()))
        images.append(image)
    sizes = np.bincount(group(images, 160))
    assert sizes.max() <= 3 and (sizes == 1).sum() >= 285


def test_the_same_thing_in_another_colour_does_not_join():
    images = []
    for colour in ((200, 30, 30), (30, 30, 200)):  # as grey, the same
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((10, 20, 40, 60), fill=colour)
        images.append(image)
    assert group(images).tolist() == [0, 1]


def test_pages_of_text_do_not_join():
    rng = np.random.default_rng(0)
    pages = []
    for _ in range(60):
        page = Image.new("RGB", (800, 800), "white")
        for top in range(60, 740, 23):
            left = 60
            while left < 700:
                width = int(rng.integers(10, 70))
                ImageDraw.Draw(page).rectangle([left, top, left + width, top + 10], fill="black")
                left += width + 12
        pages.append(page)
    assert len(set(group(pages, 160))) == 60


def test_the_built_in_sample_has_no_copies():
    cutouts = [Image.fromarray(x) for x in np.round(skimage.data.lfw_subset() * 255).astype(np.uint8)]
    assert group(cutouts, 160).tolist() == list(range(200))


def unlike(hashes):
    """Fingerprints of images that all have other pixels."""
    fingerprints = np.zeros(len(hashes), near_duplicates.FINGERPRINT)
    fingerprints["pixel_hash"] = np.arange(len(hashes))
    fingerprints["hash"] = hashes / np.linalg.norm(hashes, axis=1, keepdims=True)
    return fingerprints


def test_near_hashes_meet_among_many():
    rng = np.random.default_rng(0)
    hashes, noise = (unlike(rng.normal(size=(5000, 20)))["hash"] for _ in range(2))
    copies = unlike(hashes + 0.2 * noise)["hash"]  # as far as a crop moves a hash
    pairs = near_duplicates._candidates(np.concatenate([hashes, copies]))
    originals = pairs[pairs[:, 1] == pairs[:, 0] + 5000, 0]
    near = np.linalg.norm(hashes - copies, axis=1) < near_duplicates.DISTANCE
    assert near.mean() > 0.9 and set(np.flatnonzero(near)) <= set(originals)


def test_candidates_are_the_nearest_hashes_by_brute_force():
    rng = np.random.default_rng(0)
    hashes = unlike(rng.normal(size=(30, 20)).repeat(10, axis=0) + 0.2 * rng.normal(size=(300, 20)))["hash"]
    distances = np.linalg.norm(hashes[:, np.newaxis] - hashes, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, : near_duplicates.NEIGHBOURS]
    expected = {(one, other) for one in range(300) for other in nearest[one] if distances[one, other] < 0.35}
    assert len(expected) > 300
    assert set(map(tuple, near_duplicates._candidates(hashes).tolist())) == expected


def test_few_pairs_are_verified_even_if_all_hashes_are_alike(monkeypatch):
    verified = []

    def verify(thumbnails, a, b):
        verified.extend(a)
        return np.arange(len(a)) == 0

    monkeypatch.setattr(near_duplicates, "_verify", verify)
    near_duplicates.find(unlike(np.ones((3000, 20))), None)
    assert 3000 <= len(verified) <= 2 * near_duplicates.NEIGHBOURS * 3000


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_mirrored_copies_join_their_originals_and_nothing_else(transform):
    originals = list(photographs(60))
    groups = group([*originals, *(transformed(ImageOps.mirror(x), transform) for x in originals)], 160)
    assert (groups[:60] == np.arange(60)).all()
    assert (groups[60:] == np.arange(60)).mean() >= 0.95
