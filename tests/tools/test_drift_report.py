import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.evaluation import drift
from stages.evaluation.drift import Difference
from stages.tools import drift_report


def sample(count, grouped=False):
    table = pd.DataFrame({name: np.linspace(0.1, 0.9, count) for name in drift.COLUMNS})
    return drift.Sample(np.ones((count, 4), np.float16), table, grouped)


ALIKE = [
    Difference("novelty", 0.041, 0.05, 1.0),
    Difference("features", None, None, 0.42),
    Difference("brightness", 117.6, 118.2, 0.7),
]


def test_without_a_difference_the_values_are_given():
    text = drift_report.paragraph(sample(300), sample(1), ALIKE)
    assert text == (
        "No drift was found: 300 images and 1 validation image do not differ by more than randomness explains in the "
        "share unlike the training images (4.1% and 5.0%, p = 1), features (p = 0.42) and brightness (median 118 and "
        "118, p = 0.7)."
    )


def test_differences_come_first():
    found = [Difference("novelty", 0.5, 0.05, 0.0001), *ALIKE[1:]]
    text = drift_report.paragraph(sample(30), sample(200), found)
    assert text.startswith(
        "Drift: 30 images and 200 validation images differ in the share unlike the training images (50.0% and 5.0%, "
        "p < 0.001). No difference was found in features (p = 0.42) and"
    )
    everything = [Difference("size", 100, 9, 0.05)]
    assert drift_report.paragraph(sample(30), sample(9), everything) == (
        "Drift: 30 images and 9 validation images differ in size (median 100 and 9, p = 0.05)."
    )


@pytest.mark.parametrize(("count", "few"), [(1, True), (29, True), (30, False), (5000, False)])
@pytest.mark.parametrize("grouped", [True, False])
def test_says_what_few_images_and_groups_mean(count, few, grouped):
    text = drift_report.paragraph(sample(count), sample(99, grouped), ALIKE)
    assert ("only large differences can be found" in text) is few
    assert ("come in groups" in text) is grouped


def test_the_record_is_json():
    found = [*ALIKE, Difference("size", 9.0, 8.0, 0.01)]
    assert json.loads(json.dumps(drift_report.record(sample(7), sample(9), found))) == {
        "images": 7,
        "reference": 9,
        "differs": ["size"],
        "novelty": {"images": 0.041, "reference": 0.05, "p_value": 1.0},
        "features": {"p_value": 0.42},
        "brightness": {"images": 117.6, "reference": 118.2, "p_value": 0.7},
        "size": {"images": 9.0, "reference": 8.0, "p_value": 0.01},
    }


def array(values):
    return SimpleNamespace(numpy=lambda: np.array(values, np.float32))


def test_near_duplicates_count_once():
    collector, random = drift_report.Collector(), np.random.default_rng(0)
    images = random.integers(0, 256, (3, 32, 32, 3), np.uint8)
    for rows in ([0, 1], [1, 2, 0]):
        outputs = {"features": array([[row, 1] for row in rows]), "novelty": array(rows)}
        collector.add(images[rows], np.array([[50 + row, 40 + row] for row in rows]), outputs)
    found = collector.sample()
    assert found.features.tolist() == [[0, 1], [1, 1], [2, 1]] and not found.grouped
    assert found.table["novelty"].tolist() == [0, 1, 2] and found.table["size"].tolist() == [40, 41, 42]
    np.testing.assert_allclose(found.table["brightness"], images.mean(axis=(1, 2, 3)))


def test_no_readable_image_is_one_line():
    with pytest.raises(UserError, match="none of these can be read"):
        drift_report.Collector().sample()


@pytest.mark.parametrize("model", ["elsewhere/model", "data/models/finetuned", "classifier"])
def test_a_model_elsewhere_is_one_line(model):
    with pytest.raises(UserError, match="lies elsewhere: give --model PROJECT/data/models/classifier"):
        drift_report.reference_of(model)


def test_the_images_are_those_of_the_model_s_project(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="reference.npz is missing: run `dvc repro evaluate`"):
        drift_report.reference_of(str(tmp_path / "data/models/classifier"))
    (tmp_path / "data/evaluation").mkdir(parents=True)
    drift.save(tmp_path / drift.FILE, sample(12))
    monkeypatch.chdir(tmp_path)
    for model in (str(tmp_path / "data/models/classifier"), "data/models/classifier", "./data/models/classifier/"):
        assert len(drift_report.reference_of(model)) == 12
