import re

import numpy as np
import pandas as pd
import pytest

from stages import report
from stages.common import params
from stages.reporting import facts
from tests.reporting.support import TWELVE_CLASSES, write_run


@pytest.fixture
def run(workplace):
    write_run(TWELVE_CLASSES)
    return report.read() | {"params": params.defaults()}


@pytest.fixture
def table(run):
    return pd.read_csv("plots/predictions.csv")


def test_flipped_images_are_those_that_one_model_gets_right_and_the_other_wrong(run, table):
    right, right_before = table["actual"] == table["predicted"], table["actual"] == table["frozen"]
    assert {row["path"] for row in facts.summarise(run)["flipped"]} == set(table["path"][right != right_before])


def test_mistakes_are_the_wrong_predictions_the_most_confident_first(run, table):
    summary, wrong = facts.summarise(run), table[table["actual"] != table["predicted"]]
    assert {row["path"] for row in summary["mistakes"]} == set(wrong["path"])
    assert sum(row["support"] for row in summary["confusions"]) == summary["mistake_count"] == len(wrong)
    confidence = [row["probability"] for row in summary["mistakes"]]
    assert confidence == sorted(confidence, reverse=True)


def test_classes_are_sorted_by_f1(run):
    scores = run["class_scores"]["finetuned"]["classes"]
    f1 = [scores[name]["f1"] for name in facts.summarise(run)["worst_first"]]
    assert f1 == sorted(f1)


def test_the_hash_is_that_of_the_images_whatever_split_they_are_in(run):
    first = facts.summarise(run)["images_hash"]
    assert re.fullmatch("[0-9a-f]{8}", first)
    run["train_manifest"], run["test_manifest"] = run["test_manifest"][::-1], run["train_manifest"]
    assert facts.summarise(run)["images_hash"] == first
    run["train_manifest"] = run["train_manifest"].assign(label=0)  # images in other folders
    assert facts.summarise(run)["images_hash"] != first


def test_image_sizes_are_the_smallest_and_the_largest_or_the_only_one(run):
    assert facts.summarise(run)["image_sizes"] == [(20, 20), (40, 20)]
    run["overview"]["sizes"] = np.array([[8, 9], [8, 9]])
    assert facts.summarise(run)["image_sizes"] == [(8, 9)]


def test_settings_that_differ_from_the_defaults(run):
    assert facts.summarise(run)["changed_params"] == {}
    run["params"] |= {"image_size": 96, "data.images": "data/mine"}
    assert facts.summarise(run)["changed_params"] == {"image_size": 96}
