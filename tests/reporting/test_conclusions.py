"""Conclusions from made-up runs."""

import pandas as pd
import pytest

from stages.reporting import conclusions
from tests.reporting.support import make_run


def test_a_good_run():
    found = conclusions.draw(make_run(accuracy=0.95))
    assert found.quality == "good"
    assert found.headline == (
        "Good: 190 of 200 test images are predicted correctly, 95% (95% interval 91% to 97.3%); always predicting the "
        "most frequent class gives 50%."
    )
    assert found.overfitting.startswith("No sign of overfitting: accuracy 95% in training, 95% in validation")
    assert found.int8.startswith("int8 may be used")


def test_a_weak_run():
    found = conclusions.draw(make_run(accuracy=0.75))
    assert found.quality == "fair" and found.headline.startswith("Fair: ")


def test_noise_is_no_better_than_guessing():
    run = make_run(accuracy=0.55)
    assert run.scores.finetuned["accuracy"] > 0.5
    found = conclusions.draw(run)
    assert found.quality == "guessing" and found.headline.startswith("No better than guessing: 110 of 200")


def test_an_overfitted_run():
    run = make_run(accuracy=0.75)
    run.finetune.accuracy = 0.99
    found = conclusions.draw(run)
    assert found.overfits
    assert found.overfitting.startswith(
        "It overfits: accuracy 99% in training, 75% in validation, 24.0 percentage points lower (95% interval 18."
    )


def test_a_gap_that_few_images_explain_is_no_overfitting():
    run = make_run(accuracy=0.8, per_class=5)
    run.finetune.accuracy = 0.9
    found = conclusions.draw(run)
    assert not found.overfits
    assert found.overfitting.startswith(
        "No sign of overfitting: accuracy 90% in training, 80% in validation, 10.0 percentage points lower"
    )
    assert found.overfitting.endswith("within noise.")


def test_near_duplicates_count_as_one_image():
    run = make_run(accuracy=0.9, per_class=50)
    run.finetune.accuracy = 0.99
    assert conclusions.draw(run).overfits
    run.split.groups = 50
    assert not conclusions.draw(run).overfits


def test_a_run_of_many_classes_is_measured_against_chance():
    assert conclusions.draw(make_run(classes=40, per_class=10, accuracy=0.2)).quality == "fair"  # guessing: 2.5%
    assert conclusions.draw(make_run(classes=40, per_class=10, accuracy=0.9)).quality == "good"
    # Nine tenths are of one class: 92% are hardly better than always predicting it.
    actual = ["a"] * 180 + ["b"] * 20
    predictions = pd.DataFrame({"actual": actual, "predicted": ["a"] * 180 + ["b"] * 4 + ["a"] * 16})
    run = make_run(accuracy=0.92, classes=2, predictions=predictions)
    run.split.test = {"kind 0": 180, "kind 1": 20}
    assert conclusions.draw(run).quality == "guessing"


def test_kappa():
    table = pd.DataFrame({"actual": list("aaaabbbbbb"), "predicted": list("aaabbbbbba")})
    assert conclusions.cohens_kappa(table) == pytest.approx((0.8 - 0.52) / 0.48)  # by hand: 0.4 * 0.4 + 0.6 * 0.6
    assert conclusions.cohens_kappa(pd.DataFrame({"actual": ["a"], "predicted": ["a"]})) == 0


FINETUNED = "The fine-tuned model is exported, as it has the lower validation loss: 0.200"
FROZEN = "The frozen model is exported: fine-tuning did not lower the validation loss (0.300)."


@pytest.mark.parametrize(("model", "text"), [("finetuned", FINETUNED), ("frozen", FROZEN)])
def test_the_exported_model_and_why(model, text):
    run = make_run()
    run.finetune.model = model
    assert conclusions.draw(run).exported_model.startswith(text)


def test_a_model_set_by_hand_was_not_chosen():
    run = make_run(settings={"finetune.keep": "finetuned"})
    text = conclusions.draw(run).exported_model
    assert text.startswith("The fine-tuned model is exported, as finetune.keep is finetuned; its validation loss")


def test_fine_tuning_that_harms_is_significantly_worse():
    run = make_run()
    run.scores.changed = run.scores.changed.model_copy(update={"gained": 1, "lost": 9, "p_value": 0.02})
    assert "significantly worse" in conclusions.draw(run).exported_model


def test_int8_that_predicts_other_classes_is_named():
    run = make_run()
    run.exports["int8"]["agreement"] = 0.61
    text = conclusions.draw(run).int8
    assert text.startswith("Do not use int8 unchecked: it predicts the class of the SavedModel for 61% of the test")
    assert "float16 predicts the same class for 100%" in text
    run.exports["int8"]["agreement"] = 0.985  # 3 of 200 images: 99% lies in the interval
    assert conclusions.draw(run).int8.startswith("int8 may be used")


def test_the_smallest_file_is_the_smallest_that_agrees():
    run = make_run()
    assert conclusions.draw(run).smallest_file == "int8"
    run.exports["int8"]["agreement"] = 0.61
    assert conclusions.draw(run).smallest_file == "float16"
    run.exports["float16"]["agreement"] = 0.9
    assert conclusions.draw(run).smallest_file == "savedmodel"
