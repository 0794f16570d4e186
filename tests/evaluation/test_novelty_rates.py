from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.evaluation import foreign_images, novelty, novelty_rates

SIZE = 40  # number of features


def around(labels, rng, noise=0.1):
    """Features of images of classes: noise around a direction of each class."""
    return (np.eye(SIZE)[labels] + rng.normal(0, noise, (len(labels), SIZE))).astype(np.float32)


def split(class_count, per_class):
    labels = np.repeat(np.arange(class_count), per_class)
    manifest = pd.DataFrame({"group": range(len(labels))})
    return SimpleNamespace(labels=labels, manifest=manifest, classes=[*map(str, range(class_count))], image_size=32)


@pytest.fixture
def measure(workplace):
    """Measures a detector on such splits, of which `foreign` is the direction of the foreign images."""

    def run(class_count, train=30, validation=30, test=20, foreign=-1, is_right=None, unlike=()):
        rng = np.random.default_rng(0)
        splits = {
            name: split(class_count, count)
            for name, count in zip(("train", "validation", "test"), (train, validation, test), strict=True)
        }
        features = {name: around(x.labels, rng) for name, x in splits.items()}
        features["test"][list(unlike)] = around([SIZE - 1] * len(unlike), rng)
        (workplace.folder / "data/features").mkdir(parents=True)
        for name in ("train", "validation"):
            np.save(f"data/features/{name}.npy", features[name].astype(np.float16))
        detector = novelty.fit(features["train"], features["validation"])
        right = np.ones(len(features["test"]), bool) if is_right is None else is_right
        calls = []

        def extract(pixels):
            calls.append(pixels)
            return around([foreign % SIZE] * len(pixels), rng)

        rates = novelty_rates.measure(detector, splits, features["test"], features["test"], right, extract)
        return rates, calls

    return run


@pytest.mark.parametrize("class_count", [2, 3, 4, 7])
def test_foreign_and_unseen_images_are_flagged_and_own_ones_are_not(measure, class_count):
    rates, [foreign] = measure(class_count)
    assert rates["answered"]["rate"] > 0.9 and rates["wrong"]["rate"] == 0
    assert rates["foreign"] == {"count": len(foreign), "rate": 1.0, "interval": rates["foreign"]["interval"]}
    assert rates["kinds"].keys() == foreign_images.make(32).keys()
    if class_count == 2:
        assert rates["unseen"] is None and "unseen" not in rates["finding"]
    else:
        assert rates["unseen"]["count"] == 20 * class_count and rates["unseen"]["rate"] > 0.9
        assert "of images of unseen classes" in rates["finding"]


def test_foreign_images_like_ones_own_are_not_flagged(measure):
    rates, _ = measure(3, foreign=1)
    assert rates["foreign"]["rate"] < 0.2
    assert f"{rates['foreign']['rate']:.1%} of 120 foreign images" in rates["finding"]


def test_only_mistakes_on_images_that_are_not_flagged_count(measure):
    is_right = np.arange(40) >= 10  # 10 are wrong, of which 8 are unlike the training images
    rates, _ = measure(2, is_right=is_right, unlike=range(8))
    flagged = 40 - round(40 * rates["answered"]["rate"])
    assert 8 <= flagged <= 12
    assert rates["wrong"]["count"] == 40 - flagged and round(rates["wrong"]["rate"] * (40 - flagged)) in (1, 2)


def test_if_all_test_images_are_flagged_none_of_the_others_is_wrong(measure):
    rates, _ = measure(2, unlike=range(40))
    assert rates["answered"]["rate"] == 0 and rates["wrong"] is None


@pytest.mark.parametrize(("validation", "threshold", "unseen"), [(6, False, False), (8, True, False), (10, True, True)])
def test_too_few_validation_images_are_told(measure, validation, threshold, unseen):
    """Of three classes, 8 images each are enough for all classes, but not for two of them."""
    rates, calls = measure(3, validation=validation)
    assert bool(rates["answered"]) == threshold == bool(calls) and bool(rates["unseen"]) == unseen
    assert threshold or rates["finding"] == (
        "The model cannot tell which images are unlike its training images: this takes at least 19 validation images, "
        "and there are 18."
    )


def test_features_of_other_images_are_told(measure, monkeypatch):
    measure(3)
    np.save("data/features/train.npy", np.zeros((5, SIZE), np.float16))
    splits = {name: split(3, 30) for name in ("train", "validation", "test")}
    with pytest.raises(UserError, match="data/features/train.npy is not of the images in data/splits/train"):
        novelty_rates.measure_unseen(splits, np.zeros((90, SIZE), np.float32))


@pytest.mark.parametrize(("hits", "count"), [(0, 30), (3, 40), (30, 30)])
def test_the_interval_of_a_rate_is_that_of_jeffreys(hits, count):
    from stages.statistics import intervals

    rate = novelty_rates.rate(np.arange(count) < hits, np.arange(count))
    expected = np.array(intervals.jeffreys(hits, count)).ravel()
    assert rate["count"] == count and rate["rate"] == hits / count
    np.testing.assert_allclose(rate["interval"], expected, atol=0.025)


def test_near_duplicates_widen_the_interval():
    hits = np.repeat(np.arange(20) < 4, 5)
    wide, narrow = (novelty_rates.rate(hits, groups)["interval"] for groups in (np.repeat(range(20), 5), range(100)))
    assert wide[1] - wide[0] > 1.7 * (narrow[1] - narrow[0])
