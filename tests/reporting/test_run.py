import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.reporting.run import Run
from tests.reporting import support
from tests.reporting.support import TWELVE_CLASSES


@pytest.fixture
def run(workplace):
    support.write_run(TWELVE_CLASSES)
    return support.read_run()


@pytest.fixture
def table(run):
    return pd.read_csv("plots/predictions.csv")


def test_every_field_is_of_its_type(run):
    for field in dataclasses.fields(Run):
        kind = getattr(field.type, "__origin__", field.type)
        if isinstance(kind, type):
            assert isinstance(getattr(run, field.name), kind), field.name
    assert isinstance(run.scores.finetuned["accuracy"], float) and isinstance(run.scores.changed.gained, int)


@pytest.mark.parametrize(
    "path", ["data/models/exported/comparison.json", "data/audit/labels.csv", "data/evaluation/samples.npz"]
)
def test_what_is_missing_is_named(run, workplace, path):
    (workplace.folder / path).unlink()
    with pytest.raises(UserError, match=f"^{path} is missing: run `dvc repro` first.$"):
        support.read_run()


@pytest.mark.parametrize(
    "path",
    [
        "data/training/finetune.csv",
        "plots/predictions.csv",
        "data/evaluation/slices.csv",
        "data/evaluation/samples.npz",
        "data/training/augmentations.npy",
    ],
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_an_output_that_is_cut_off_is_named(run, workplace, path, is_empty):
    whole = (workplace.folder / path).read_bytes()
    end = whole.rstrip().rfind(b"\n") + 4 if path.endswith(".csv") else -20  # within the last row
    (workplace.folder / path).write_bytes(b"" if is_empty else whole[:end])
    with pytest.raises(UserError, match=f"^{path} is damaged or of an earlier version: run `dvc repro`.$"):
        support.read_run()


@pytest.mark.parametrize(
    ("path", "pattern", "put"),
    [
        ("data/evaluation/slices.csv", '"flagged"', '"marked"'),  # another column
        ("data/audit/labels.csv", "0.7", "high"),  # a text among numbers
        ("data/evaluation/reliability.csv", "\n.*\n", "\n0.5\n"),  # a row that is cut
    ],
)
def test_a_table_that_was_edited_is_named(run, path, pattern, put):
    Path(path).write_text(re.sub(pattern, put, Path(path).read_text(), count=1))
    with pytest.raises(UserError, match=f"^{path} is damaged or of an earlier version: run `dvc repro`.$"):
        support.read_run()


def test_a_training_that_was_stopped_is_named(run, workplace):
    path = workplace.folder / "data/training/finetune.csv"
    path.write_text(re.sub("True|False", "", path.read_text()))
    with pytest.raises(
        UserError, match="^data/training/finetune.csv is of a training that was stopped: run `dvc repro`"
    ):
        support.read_run()


@pytest.mark.parametrize(
    ("text", "reason"), [("{}", "epochs: Field required"), ('{"epochs": 1, "be', ": Invalid JSON")]
)
def test_an_output_without_its_values_is_named(run, workplace, text, reason):
    (workplace.folder / "data/training/finetune.json").write_text(text)
    with pytest.raises(
        UserError, match=rf"^data/training/finetune.json is incomplete \({reason}.*\): run `dvc repro`.$"
    ):
        support.read_run()


def test_flipped_images_are_those_that_one_model_gets_right_and_the_other_wrong(run, table):
    right, right_before = table["actual"] == table["predicted"], table["actual"] == table["frozen"]
    assert set(run.flipped["path"]) == set(table["path"][right != right_before])


def test_mistakes_are_the_wrong_predictions_the_most_confident_first(run, table):
    wrong = table[table["actual"] != table["predicted"]]
    assert set(run.mistakes["path"]) == set(wrong["path"])
    assert run.confusions["support"].sum() == len(run.mistakes) == len(wrong)
    assert run.mistakes["probability"].is_monotonic_decreasing


def test_classes_are_sorted_by_f1(run):
    scores = run.class_scores.finetuned["classes"]
    f1 = [scores[name]["f1"] for name in run.worst_first]
    assert f1 == sorted(f1)


def test_the_hash_is_that_of_the_images_whatever_split_they_are_in(run):
    assert re.fullmatch("[0-9a-f]{8}", run.images_hash)
    train, validation, test = run.manifests
    moved = dataclasses.replace(run, manifests=[test, validation, train[::-1]])
    assert moved.images_hash == run.images_hash
    in_other_folders = dataclasses.replace(run, manifests=[train.assign(label=0), validation, test])
    assert in_other_folders.images_hash != run.images_hash


def test_image_sizes_are_the_smallest_and_the_largest_or_the_only_one(run):
    assert run.image_sizes == [(20, 20), (40, 20)]
    assert dataclasses.replace(run, overview={"sizes": np.array([[8, 9], [8, 9]])}).image_sizes == [(8, 9)]


def test_settings_that_differ_from_the_defaults(run):
    assert run.changed_settings == {} and run.settings == params.defaults()
    p = support.parameters({"image_size": 96, "data.images": "data/mine"})
    assert dataclasses.replace(run, p=p).changed_settings == {"image_size": 96}
