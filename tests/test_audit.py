import json
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import audit, split
from stages.common import dataset
from stages.model import network
from tests.support import make_images


def test_the_features_are_what_the_last_layer_of_a_network_with_these_weights_sees(workplace, weights):
    make_images(workplace.folder / "mine", {"a": 5, "b": 6, "c": 7})
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    splits = [dataset.load(name) for name in audit.SPLITS]
    features = audit.extract(splits, weights, batch_size=4)
    assert features.shape == (18, 1280) and features.dtype == np.float32
    model = network.build(32, 3)
    network.load_base(model, weights)
    kernel, bias = model.get_layer("logits").get_weights()
    logits = np.concatenate([model(x.pixels[:].astype("float32"), training=False) for x in splits])
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-4)


def test_no_image_vouches_for_its_near_copy():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(100, 200)), 2, axis=0)  # pairs, otherwise noise: only a copy tells the label
    labels, groups = pd.Series(np.arange(200) // 2 % 2), pd.Series(np.arange(200) // 2)
    accuracy = [
        (audit.cross_validate(features, labels, groups, 5, seed=1).argmax(axis=1) == labels).mean()
        for groups in (groups, pd.Series(np.arange(200)))
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
    assert (probabilities > 0).all()  # every class was among those that each classifier learned
    names = labels.astype(str)
    images = pd.DataFrame({"path": groups.astype(str), "split": "train", "class": names, "label": labels})
    table, label_error_rate = audit.rank_labels(images, probabilities, [str(k) for k in range(200)])
    assert len(table) == 600 and 0 <= label_error_rate <= 1


def test_judges_by_hand():
    probabilities = np.array([[0.9, 0.1, 0], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [0, 0.2, 0.8]])
    images = pd.DataFrame({"path": list("pqrs"), "split": "test", "class": list("aabc"), "label": [0, 0, 1, 2]})
    table, _ = audit.rank_labels(images, probabilities, ["a", "b", "c"])
    assert table["path"].tolist() == ["q", "r", "s", "p"]
    assert table["suggested"].tolist() == ["b", "c", "c", "a"]
    assert table["quality"].tolist() == pytest.approx([0.2, 0.45, 0.8, 0.9])  # (1 + given - likeliest other) / 2
    assert table["given_probability"].tolist() == pytest.approx([0.1, 0.3, 0.8, 0.9])
    assert table["suggested_probability"].tolist() == pytest.approx([0.7, 0.4, 0.8, 0.9])


def test_estimates_the_share_of_wrong_labels_from_those_that_the_classifier_is_sure_of():
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
    return np.concatenate([x.pixels[:].mean(axis=(1, 2)) for x in splits])


def test_finds_images_in_the_wrong_folder_whatever_split_they_are_in(workplace, monkeypatch):
    folder = make_images(workplace.folder / "mine", {"a": 30, "NA": 30})
    swapped = {"a": ["000.png", "001.png"], "NA": ["002.png"]}
    for name, files in swapped.items():
        other = {"a": "NA", "NA": "a"}[name]
        for file in files:
            (folder / name / file).rename(folder / other / f"moved {file}")
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    monkeypatch.setattr(audit, "extract", mean_colours)
    audit.main()
    table = pd.read_csv("data/audit/labels.csv", keep_default_na=False)
    assert set(table["path"][:3]) == {"NA/moved 000.png", "NA/moved 001.png", "a/moved 002.png"}
    assert (table["suggested"] != table["given"]).tolist() == [True] * 3 + [False] * 57
    for name in audit.SPLITS:
        assert set(table["path"][table["split"] == name]) == set(dataset.load(name).manifest["path"])
    metrics = json.loads((workplace.folder / "metrics/audit.json").read_text())
    assert metrics == {"label_error_rate": pytest.approx(3 / 60, abs=0.02), "accuracy": 57 / 60, "folds": audit.FOLDS}
    Image.open("plots/label_audit.png").load()


def test_the_sheet_shows_the_image_that_the_row_names(workplace, monkeypatch):
    make_images(workplace.folder / "mine", {"a": 5, "b": 5})
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    splits = {name: dataset.load(name) for name in audit.SPLITS}
    seen = {}
    monkeypatch.setattr(audit.charts, "grid", lambda pixels, *rest: seen.update(pixels=pixels, titles=rest[0]))
    rows = [(splits[name].manifest["path"][0], name, "a", "b", 0.2, 0.2, 0.8) for name in ("test", "train")]
    audit.draw(
        pd.DataFrame(
            rows,
            columns=["path", "split", "given", "suggested", "quality", "given_probability", "suggested_probability"],
        ),
        splits,
    )
    assert (seen["pixels"] == np.stack([splits["test"].pixels[0], splits["train"].pixels[0]])).all()
    assert seen["titles"] == ["given 20%: a\nsuggested 80%: b"] * 2
