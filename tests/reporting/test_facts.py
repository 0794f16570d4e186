import pandas as pd
import pytest

from stages import report
from stages.reporting import facts
from tests.reporting.support import TWELVE_CLASSES, write_run


@pytest.fixture
def run(workplace):
    write_run(TWELVE_CLASSES)
    return report.read()


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


def test_the_first_uncertain_prediction_has_the_smallest_margin(run, table):
    assert facts.summarise(run)["uncertain"][0]["margin"] == table["margin"].min()


def test_classes_are_sorted_by_f1(run):
    scores = run["class_scores"]["finetuned"]["classes"]
    f1 = [scores[name]["f1"] for name in facts.summarise(run)["worst_first"]]
    assert f1 == sorted(f1)
