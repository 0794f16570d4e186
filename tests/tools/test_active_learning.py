import numpy as np
import pytest
from PIL import Image

from stages.tools import active_learning
from stages.tools.inference import Prediction

RNG = np.random.default_rng(0)


def kinds(*counts):
    """Features of images of several kinds, one after the other: noise around a direction each."""
    kind = np.repeat(np.arange(len(counts)), counts)
    return (np.eye(40)[kind] + RNG.normal(0, 0.02, (len(kind), 40))).astype(np.float16), kind


@pytest.mark.parametrize(
    ("probabilities", "expected"), [((0.5, 0.5), 1), ((1, 0), 0), ((0.2, 0.7, 0.1), 0.5), ((0.4, 0.2, 0.4), 1)]
)
def test_uncertainty_is_what_is_missing_to_a_clear_first(probabilities, expected):
    assert active_learning.uncertainty(Prediction("", probabilities=dict(enumerate(probabilities)))) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("counts", [(30, 30, 30), (80, 5, 1), (4, 4, 4, 4)])
def test_selects_one_image_of_every_kind_and_counts_the_others(monkeypatch, counts):
    monkeypatch.setattr(active_learning, "MOST", len(counts))
    features, kind = kinds(*counts)
    rows, similar = active_learning.select(features, np.ones(len(kind)))
    assert sorted(kind[rows]) == list(range(len(counts)))
    assert [counts[kind[row]] - 1 for row in rows] == similar.tolist()


@pytest.mark.parametrize("uncertain", [0, 1, 2])
def test_uncertain_images_come_first_and_get_more_of_the_places(monkeypatch, uncertain):
    monkeypatch.setattr(active_learning, "MOST", 6)
    features, kind = kinds(40, 40, 40)
    rows, _ = active_learning.select(features, np.where(kind == uncertain, 0.9, 0.01))
    assert kind[rows[0]] == uncertain and np.bincount(kind[rows], minlength=3).argmax() == uncertain


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 250])
def test_selects_at_most_so_many_of_any_number_none_twice(count):
    features, kind = kinds(count)
    rows, similar = active_learning.select(features, RNG.random(count))
    assert len(rows) == len(set(rows)) == min(count, 100) and similar.sum() + len(rows) == count


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_images_that_are_all_the_same_or_certain_are_no_error():
    rows, similar = active_learning.select(np.ones((150, 40), np.float16), np.zeros(150))
    assert rows.tolist() == [0] and similar.tolist() == [149]


def test_of_many_images_some_place_the_clusters_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(active_learning, "MOST", 3)
    features, kind = kinds(50, 50, 50)
    expected = active_learning.select(features, np.ones(150))[1].tolist()
    monkeypatch.setattr(active_learning, "LARGE", 30)
    monkeypatch.setattr(active_learning, "CHUNK", 7)
    rows, similar = active_learning.select(features, np.ones(150))
    assert sorted(kind[rows]) == [0, 1, 2] and similar.tolist() == expected == [49, 49, 49]


def test_near_duplicates_of_earlier_images_are_left_out(tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in ("a", "b", "a mirrored", "c", "a smaller", "gone")]
    blobs = [RNG.integers(0, 256, (6, 6, 3), np.uint8) for _ in range(3)]
    a, b, c = (Image.fromarray(x).resize((200, 200), Image.Resampling.BICUBIC) for x in blobs)
    made = [a, b, a.transpose(Image.Transpose.FLIP_LEFT_RIGHT), c, a.resize((150, 150))]
    for path, image in zip(paths[:5], made, strict=True):
        image.save(path)
    assert active_learning.without_near_duplicates(paths, 96, "white") == [0, 1, 3]
    assert active_learning.without_near_duplicates(paths[4:], 96, "white") == [0]
    assert active_learning.without_near_duplicates(paths[5:], 96, "white") == []
