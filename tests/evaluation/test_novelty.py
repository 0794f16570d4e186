import numpy as np
import pytest

from stages.common.cli import UserError
from stages.evaluation import novelty

RNG = np.random.default_rng(0)


def around(direction, count, size=40):
    """Features of images of a kind: noise around a direction, of any length."""
    return (np.eye(size)[direction] + RNG.normal(0, 0.1, (count, size))) * RNG.uniform(1, 9, (count, 1))


def saved(path, train, validation):
    novelty.save(path, train, validation)
    return novelty.load(path)


@pytest.mark.parametrize("count", [1, 19, 20, 39, 400])
def test_at_most_5_percent_of_the_validation_images_are_unlike(tmp_path, count):
    validation = around(0, count)
    detector = saved(tmp_path / "known.npz", around(0, 300), validation)
    assert int(0.05 * count) - 1 <= detector.are_unlike(validation).sum() <= 0.05 * count


@pytest.mark.parametrize("count", [2, 4, 5, 300])
def test_images_of_another_kind_are_unlike_and_others_of_the_same_are_not(tmp_path, count):
    train = np.concatenate([around(kind, count) for kind in (0, 1)])
    detector = saved(tmp_path / "known.npz", train, np.concatenate([around(kind, 200) for kind in (0, 1)]))
    flagged = [detector.are_unlike(around(kind, 100)).mean() for kind in range(4)]
    assert max(flagged[:2]) < 0.25 and min(flagged[2:]) > 0.9


def test_at_most_so_many_training_images_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(novelty, "MOST", 50)
    train = np.concatenate([around(kind, 100) for kind in (0, 1, 2)])
    detector = saved(tmp_path / "known.npz", train, around(0, 100))
    assert len(detector.known) == 50 and set(detector.known.argmax(axis=1)) == {0, 1, 2}


def test_a_missing_file_is_no_detector_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "known.npz"
    assert novelty.load(path) is None and novelty.load(path / "below") is None
    novelty.save(path, around(0, 9), around(0, 9))
    for content in (b"", b"no zip", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="known.npz is damaged or of an earlier version: run `dvc repro`"):
            novelty.load(path)
    np.savez(path, other=1)
    with pytest.raises(UserError, match="damaged"):
        novelty.load(path)
