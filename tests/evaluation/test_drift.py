import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.common import dataset
from stages.common.cli import UserError
from stages.evaluation import drift


def sample(count, seed=0, shift=0.0, brightness=1.0, sharpness=1.0, size=1, unlike=0.05):
    """Made-up images, whose features lie around a point that `shift` moves."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 20)) + np.eye(20)[0] * (5 + shift)
    table = {
        "novelty": np.where(random.random(count) < unlike, 1.5, 0.5),
        "brightness": brightness * random.uniform(80, 160, count),
        "sharpness": sharpness * random.lognormal(5, 1, count),
        "size": size * random.integers(100, 120, count),
    }
    return drift.Sample(features.astype(np.float16), pd.DataFrame(table))


def found(images, reference):
    return [x.name for x in drift.compare(images, reference) if x.found]


@pytest.mark.parametrize(("count", "reference"), [(20, 60), (100, 60), (60, 200)])
def test_images_of_the_same_kind_are_seldom_found_to_differ(count, reference, monkeypatch):
    monkeypatch.setattr(drift, "PERMUTATIONS", 199)
    alarms = [found(sample(count, 2 * run), sample(reference, 2 * run + 1)) for run in range(30)]
    assert sum(map(bool, alarms)) <= 5  # of 30 at 5%, more in 1 of 300 cases


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"unlike": 0.3}, "novelty"),
        ({"shift": 2}, "features"),
        ({"brightness": 1.2}, "brightness"),
        ({"brightness": 0.8}, "brightness"),
        ({"sharpness": 3}, "sharpness"),
        ({"size": 2}, "size"),
    ],
)
def test_a_change_is_found_where_it_is(change, name):
    for seed in range(3):
        assert found(sample(90, seed, **change), sample(150, seed + 9)) == [name]


def test_fewer_unlike_images_than_expected_are_no_drift():
    assert "novelty" not in found(sample(400, 1, unlike=0), sample(400, 2, unlike=0.2))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_are_compared_as_well(count):
    differences = drift.compare(sample(count), sample(40, 1))
    assert [x.name for x in differences] == ["novelty", "features", "brightness", "sharpness", "size"]
    assert all(0 < x.p_value <= 1 for x in differences)


def test_equal_images_do_not_differ():
    one = sample(1, unlike=0)
    many = drift.Sample(np.repeat(one.features, 30, axis=0), one.table.iloc[np.zeros(30, int)])
    assert found(many, many) == [] and {x.p_value for x in drift.compare(many, many)} == {1.0}


def test_p_values_are_holm_s():
    images, reference = sample(200, 1, brightness=1.3, sharpness=2, size=1.1), sample(200, 2)
    raw = {name: stats.mannwhitneyu(images.table[name], reference.table[name]).pvalue for name in drift.MEASURES}
    found = {x.name: x.p_value for x in drift.compare(images, reference)}
    for factor, name in zip([5, 4, 3], sorted(raw, key=lambda name: raw[name]), strict=True):
        assert found[name] == pytest.approx(factor * raw[name]) and found[name] < 1e-3


def test_a_model_without_a_threshold_compares_the_other_properties():
    images, reference = sample(50, unlike=0), sample(50, 1, unlike=0)
    for x in (images, reference):
        x.table["novelty"] = 0.0
    assert [x.name for x in drift.compare(images, reference)] == ["features", "brightness", "sharpness", "size"]


def split(groups, duplicates, seed=0):
    random = np.random.default_rng(seed)
    count = len(groups)
    heights = range(100, 100 + count)
    manifest = pd.DataFrame({"group": groups, "duplicates": duplicates, "width": 200, "height": heights})
    return dataset.Split(random.integers(0, 256, (count, 8, 8, 3), np.uint8), manifest, ["a", "b"])


@pytest.mark.parametrize(
    ("groups", "duplicates", "rows", "grouped"),
    [
        ([5, 5, 3, 4], [5, 5, 3, 4], [0, 2, 3], False),
        ([5, 5, 3, 5], [0, 1, 2, 3], [0, 2], True),
        ([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], False),
    ],
)
def test_one_image_of_each_group_is_kept(tmp_path, groups, duplicates, rows, grouped):
    images, features = split(groups, duplicates), np.arange(4 * 3.0).reshape(4, 3)
    drift.save(tmp_path / "reference.npz", drift.reference(images, features, np.arange(4.0)))
    loaded = drift.load(tmp_path / "reference.npz")
    assert loaded.features.tolist() == features[rows].tolist() and loaded.grouped is grouped
    assert loaded.table["novelty"].tolist() == rows
    assert loaded.table["size"].tolist() == [100 + row for row in rows]
    brightness = images.pixels[rows].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(loaded.table["brightness"], brightness, rtol=1e-5)


def test_at_most_a_certain_number_of_images_is_kept_and_the_bytes_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "MOST", 7)
    images = split(np.arange(40), np.arange(40))
    for name in ("a", "b"):
        drift.save(tmp_path / f"{name}.npz", drift.reference(images, np.ones((40, 5), np.float32), np.zeros(40)))
    assert len(drift.load(tmp_path / "a.npz")) == 7
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("data", [b"", b"damaged", b"PK\x03\x04"])
def test_a_damaged_file_is_one_line(tmp_path, data):
    with pytest.raises(FileNotFoundError):
        drift.load(tmp_path / "reference.npz")
    (tmp_path / "reference.npz").write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        drift.load(tmp_path / "reference.npz")
