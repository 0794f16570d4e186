import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import audit, split
from stages.common import dataset, files
from tests.support import make_images, make_split


def test_no_image_gives_away_the_label_of_its_near_duplicate():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(100, 200)), 2, axis=0)  # pairs of noise: only a duplicate tells the label
    labels, pairs = pd.Series(np.arange(200) // 2 % 2), pd.Series(np.arange(200) // 2)
    accuracy = [
        (audit.cross_validate(features, labels, groups, 5, seed=1).argmax(axis=1) == labels).mean()
        for groups in (pairs, pd.Series(np.arange(200)))
    ]
    assert accuracy[0] < 0.65 and accuracy[1] > 0.85


def test_the_smallest_class_has_a_group_for_each_fold():
    labels = pd.Series([0] * 20 + [1] * 20)
    groups = pd.Series([*range(20), *np.arange(20) % 3 + 100])
    assert audit.fold_count(labels, groups) == 3
    assert audit.fold_count(labels, pd.Series(range(40))) == audit.FOLDS


def test_200_classes_of_three_images():
    labels = pd.Series(np.repeat(np.arange(200), 3))
    features = np.random.default_rng(0).normal(size=(600, 10))
    groups = pd.Series(range(600))
    with warnings.catch_warnings(action="error"):
        probabilities = audit.cross_validate(features, labels, groups, audit.fold_count(labels, groups), seed=1)
    assert probabilities.shape == (600, 200)
    assert (probabilities > 0).all()  # each classifier was trained on every class
    names = labels.astype(str)
    images = pd.DataFrame({"path": groups.astype(str), "split": "train", "class": names, "label": labels})
    table, label_error_rate = audit.rank_labels(images, probabilities, [str(k) for k in range(200)])
    assert len(table) == 600 and 0 <= label_error_rate <= 1


def test_ranks_labels_by_hand():
    probabilities = np.array([[0.9, 0.1, 0], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [0, 0.2, 0.8]])
    images = pd.DataFrame({"path": list("pqrs"), "split": "test", "class": list("aabc"), "label": [0, 0, 1, 2]})
    table, _ = audit.rank_labels(images, probabilities, ["a", "b", "c"])
    assert table["path"].tolist() == ["q", "r", "s", "p"]
    assert table["suggested"].tolist() == ["b", "c", "c", "a"]
    assert table["quality"].tolist() == pytest.approx([0.2, 0.45, 0.8, 0.9])  # (1 + given - highest other) / 2
    assert table["given_probability"].tolist() == pytest.approx([0.1, 0.3, 0.8, 0.9])
    assert table["suggested_probability"].tolist() == pytest.approx([0.7, 0.4, 0.8, 0.9])


def test_estimates_the_label_error_rate_from_confident_predictions():
    truth = np.arange(1000) % 2
    given = truth.copy()
    given[:100] = 1 - given[:100]
    of_truth = np.where(np.arange(1000) // 2 % 2, 0.9, 0.6)[:, np.newaxis]
    probabilities = np.where(truth[:, np.newaxis] == [0, 1], of_truth, 1 - of_truth)
    images = pd.DataFrame({"path": np.arange(1000), "split": "train", "class": given.astype(str), "label": given})
    table, label_error_rate = audit.rank_labels(images, probabilities, ["0", "1"])
    assert label_error_rate == pytest.approx(0.1)
    assert set(table["path"][:100]) == set(range(100))


def mean_colours(splits, weights, batch_size):
    """Stands for features.extract."""
    return np.concatenate([split.pixels[:].mean(axis=(1, 2)) for split in splits])


def test_finds_images_in_the_wrong_folder_whatever_split_they_are_in(workplace, monkeypatch):
    folder = make_images(workplace.folder / "mine", {"a": 30, "NA": 30})
    for name, other, moved in (("a", "NA", ["000.png", "001.png"]), ("NA", "a", ["002.png"])):
        for file in moved:
            (folder / name / file).rename(folder / other / f"moved {file}")
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    monkeypatch.setattr(audit, "extract", mean_colours)
    audit.main()
    table = files.read_csv("data/audit/labels.csv")
    assert set(table["path"][:3]) == {"NA/moved 000.png", "NA/moved 001.png", "a/moved 002.png"}
    assert (table["suggested"] != table["given"]).tolist() == [True] * 3 + [False] * 57
    for name in dataset.SPLITS:
        assert set(table["path"][table["split"] == name]) == set(dataset.load(name).manifest["path"])
    assert files.read_json("metrics/audit.json") == {
        "label_error_rate": pytest.approx(3 / 60, abs=0.02),
        "cross_val_accuracy": 57 / 60,
        "folds": audit.FOLDS,
    }
    Image.open("plots/label_audit.png").load()


def test_the_chart_shows_the_image_that_the_row_names(monkeypatch):
    splits = {name: make_split(5, ["a", "b"], seed=seed) for seed, name in enumerate(dataset.SPLITS)}
    drawn = {}
    monkeypatch.setattr(audit.base, "grid", lambda pixels, titles, *_: drawn.update(pixels=pixels, titles=titles))
    columns = ["path", "split", "given", "suggested", "quality", "given_probability", "suggested_probability"]
    rows = [(splits[name].manifest["path"][3], name, "a", "b", 0.2, 0.2, 0.8) for name in ("test", "train")]
    audit.draw(pd.DataFrame(rows, columns=columns), splits)
    assert (drawn["pixels"] == np.stack([splits["test"].pixels[3], splits["train"].pixels[3]])).all()
    assert drawn["titles"] == ["given 20%: a\nsuggested 80%: b"] * 2
