"""The verdict on made-up runs."""

import numpy as np
import pandas as pd
import pytest

from stages import export
from stages.common import params
from stages.reporting import verdict
from stages.reporting.verdict import judge

FLAT = {"sizes": [50, 100], "doubled": {"gain": 0.002, "gain_interval": [-0.01, 0.014]}}
LOOK, USE = 'python -m webbrowser "file://$PWD/plots/report.html"', "python -m stages.tools.predict my.jpg"
OTHER = "dvc exp run -S finetune.fine_tune_at=100"
RISING = {"sizes": [50, 100], "doubled": {"gain": 0.06, "gain_interval": [0.02, 0.1]}}


def make_run(classes=2, per_class=100, accuracy=0.95, **changes):
    """A run in which this fraction of each class's test images is right, and the others are of the next class.

    It fits as well in training as in validation, keeps a mix with 75% of the fine-tuned weights, and int8 agrees.
    """
    names = [f"kind {label}" for label in range(classes)]
    actual = np.repeat(np.arange(classes), per_class)
    wrong = np.tile(np.arange(per_class) >= round(accuracy * per_class), classes)
    predictions = pd.DataFrame(
        {
            "actual": [names[label] for label in actual],
            "predicted": [names[label] for label in (actual + wrong) % classes],
        }
    )
    counts = {
        name: dict.fromkeys(names, per_class * times)
        for name, times in {"train": 3, "validation": 1, "test": 1}.items()
    }
    right = int((~wrong).sum())
    accuracy = right / len(actual)
    phase = {"accuracy": accuracy, "val_accuracy": accuracy, "val_loss": 0.2}
    return {
        "counts": counts,
        "totals": {name: sum(part.values()) for name, part in counts.items()},
        "split": {"groups": 5 * classes * per_class},
        "majority_class": names[0],
        "right": right,
        "predictions": predictions,
        "scores": {"finetuned": {"accuracy": accuracy}, "frozen": {"accuracy": accuracy - 0.02}},
        "intervals": {"finetuned": {"accuracy": verdict.wilson(accuracy, len(actual))}},
        "phases": {"finetuned": phase | {"mix": 0.75, "start": {"val_accuracy": accuracy - 0.02, "val_loss": 0.3}}},
        "epochs": [{"phase": "finetune", "val_loss": loss} for loss in (0.3, 0.2, 0.25)],
        "changed": {"gained": 5, "lost": 1, "p_value": 0.2},
        "significant": False,
        "export": {name: {"accuracy": accuracy, "agreement": 1.0} for name in ("savedmodel", "float16", "int8")},
        "params": params.defaults() | {"data.images": "data/mine"},
        "overview": {"sizes": np.array([[300, 400]] * 5)},
        "labels": pd.DataFrame({"path": []}),
        "audit": {"label_error_rate": 0.0},
        "learning_curve": FLAT,
        "predict": "python -m stages.tools.predict my.jpg",
        **changes,
    }


def commands(run):
    """The commands of the steps that the run gives a reason for."""
    return [step.command for step in judge(run).steps if step.command not in (LOOK, USE, OTHER)]


def test_a_good_run():
    answer = judge(make_run(accuracy=0.95))
    assert answer.quality == "good"
    assert answer.headline == (
        "Good: 190 of 200 test images are predicted correctly, 95% (95% interval 91% to 97.3%); always predicting the "
        "most frequent class gives 50%."
    )
    assert answer.overfitting.startswith("No sign of overfitting: accuracy 95% in training, 95% in validation")
    assert answer.int8.startswith("int8 may be used")
    assert [step.command for step in answer.steps] == [LOOK, USE, OTHER]


def test_a_weak_run_that_more_images_would_help():
    run = make_run(accuracy=0.75, learning_curve=RISING)
    answer = judge(run)
    assert answer.quality == "fair" and answer.headline.startswith("Fair: ")
    step = answer.steps[0]
    assert "6.0 percentage points (95% interval 2.0 to 10.0" in step.reason
    assert step.command == "cp -r new_images/. data/mine && dvc repro"


def test_noise_is_no_better_than_guessing():
    run = make_run(accuracy=0.55)
    assert run["scores"]["finetuned"]["accuracy"] > 0.5
    answer = judge(run)
    assert answer.quality == "guessing" and answer.headline.startswith("No better than guessing: 110 of 200")
    assert commands(run) == ["ls data/mine/*"]
    run["phases"]["finetuned"]["accuracy"] = 1.0  # the labels are learnt by heart
    assert commands(run) == ["ls data/mine/*", "dvc exp run -S train.views=10"]


def test_an_overfitted_run():
    run = make_run(accuracy=0.75)
    run["phases"]["finetuned"]["accuracy"] = 0.99
    answer = judge(run)
    assert answer.overfitting.startswith(
        "It overfits: accuracy 99% in training, 75% in validation, 24.0 percentage points lower (95% interval 18."
    )
    assert commands(run) == ["dvc exp run -S train.views=10"]


def test_a_gap_that_few_images_explain_is_no_overfitting():
    run = make_run(accuracy=0.8, per_class=5)
    run["phases"]["finetuned"]["accuracy"] = 0.9
    text = judge(run).overfitting
    assert text.startswith(
        "No sign of overfitting: accuracy 90% in training, 80% in validation, 10.0 percentage points lower"
    )
    assert text.endswith("which may be luck.")


def test_near_duplicates_count_as_one_image():
    run = make_run(accuracy=0.9, per_class=50)
    run["phases"]["finetuned"]["accuracy"] = 0.99
    assert judge(run).overfitting.startswith("It overfits")
    run["split"] = {"groups": 50}
    assert "may be luck" in judge(run).overfitting


def test_a_run_of_many_classes_is_measured_against_chance():
    assert judge(make_run(classes=40, per_class=10, accuracy=0.2)).quality == "fair"  # guessing: 2.5%
    assert judge(make_run(classes=40, per_class=10, accuracy=0.9)).quality == "good"
    # Nine tenths are of one class: 92% are hardly better than always predicting it.
    actual = ["a"] * 180 + ["b"] * 20
    run = make_run(accuracy=0.92, majority_class="a", right=184)
    run["predictions"] = pd.DataFrame({"actual": actual, "predicted": ["a"] * 180 + ["b"] * 4 + ["a"] * 16})
    run["counts"]["test"] = {"a": 180, "b": 20}
    assert judge(run).quality == "guessing"


def test_kappa():
    table = pd.DataFrame({"actual": list("aaaabbbbbb"), "predicted": list("aaabbbbbba")})
    assert verdict.cohens_kappa(table) == pytest.approx((0.8 - 0.52) / 0.48)  # by hand: 0.4 * 0.4 + 0.6 * 0.6
    assert verdict.cohens_kappa(pd.DataFrame({"actual": ["a"], "predicted": ["a"]})) == 0


@pytest.mark.parametrize(
    ("mix", "text"),
    [
        (
            0.75,
            "A mix of 75% fine-tuned and 25% frozen weights is exported, as it has the lowest validation loss: 0.200",
        ),
        (0, "The frozen model is exported: no mix with fine-tuned weights had a lower validation loss (0.300)."),
    ],
)
def test_the_exported_model_and_why(mix, text):
    run = make_run()
    run["phases"]["finetuned"]["mix"] = mix
    assert judge(run).model.startswith(text)


def test_a_mix_set_by_hand_was_not_chosen():
    run = make_run()
    run["phases"]["finetuned"]["mix"] = run["params"]["finetune.mix"] = 1.0
    assert judge(run).model.startswith("The fine-tuned model is exported, as finetune.mix is 1; its validation loss")


def test_fine_tuning_that_harms_is_taken_back():
    run = make_run(changed={"gained": 1, "lost": 9, "p_value": 0.02}, significant=True)
    assert "significantly worse" in judge(run).model
    assert commands(run) == ["dvc exp run -S finetune.mix=0"]


def test_int8_that_predicts_other_classes_is_not_passed_over():
    run = make_run()
    run["export"]["int8"] = {"accuracy": 0.95, "agreement": 0.61}
    answer = judge(run).int8
    assert answer.startswith("Do not use int8 unchecked: it predicts the class of the SavedModel for 61% of the test")
    assert "float16 predicts the same class for 100%" in answer
    run["export"]["int8"]["agreement"] = 0.985  # 3 of 200 images: 99% lies in the interval
    assert judge(run).int8.startswith("int8 may be used")


def test_as_many_images_count_as_export_compares():
    assert verdict.COMPARED == export.CHECKED


def test_doubtful_labels_are_a_step_unless_the_audit_is_silent():
    run = make_run(labels=pd.DataFrame({"path": ["a", "b"]}), audit={"label_error_rate": 0.01})
    assert judge(run).steps[0].reason.startswith("2 labels are doubtful")
    assert commands(run)[0] == "head -n 20 data/audit/labels.csv"
    for silent in (None, 0.0):
        run["audit"] = {"label_error_rate": silent}
        assert commands(run) == []


def test_rare_classes_that_do_worse_are_weighted():
    run = make_run(accuracy=0.9)
    run["counts"]["train"] = {"kind 0": 300, "kind 1": 60}
    assert "dvc exp run -S train.class_weights=balanced" not in commands(run)  # they do as well
    rare = run["predictions"]["actual"] == "kind 1"
    run["predictions"].loc[rare, "predicted"] = ["kind 0"] * 50 + ["kind 1"] * 50
    assert "dvc exp run -S train.class_weights=balanced" in commands(run)
    run["params"]["train.class_weights"] = "balanced"
    assert "dvc exp run -S train.class_weights=balanced" not in commands(run)


def test_a_loss_that_still_fell_asks_for_more_epochs():
    run = make_run(epochs=[{"phase": "finetune", "val_loss": loss} for loss in (0.3, 0.25, 0.2)])
    assert commands(run) == ["dvc exp run -S finetune.epochs=20"]


def test_a_larger_image_size_only_for_images_that_have_the_pixels():
    run = make_run()
    run["params"]["image_size"] = 96
    assert commands(run) == ["dvc exp run -S image_size=224"]
    run["overview"] = {"sizes": np.array([[60, 80]] * 5)}
    assert "dvc exp run -S image_size=224" not in commands(run)


def test_folders_are_quoted_for_the_shell():
    run = make_run(learning_curve=RISING)
    run["params"]["data.images"] = "my images; rm -rf $HOME"
    assert commands(run) == ["cp -r new_images/. 'my images; rm -rf $HOME' && dvc repro"]


def test_no_images_are_asked_for_where_the_project_fetches_them():
    run = make_run(learning_curve=RISING)
    run["params"]["data.images"] = "data/digits/images"
    assert commands(run) == []


def test_the_interval_of_a_difference():
    low, high = verdict.difference_interval(56 / 70, 48 / 80, 70, 80)  # Newcombe 1998, table II, method 10, (a)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_only_a_good_model_is_to_be_used_and_only_mistakes_are_to_be_looked_at():
    assert [step.command for step in judge(make_run(accuracy=0.75)).steps] == [LOOK, OTHER]
    assert [step.command for step in judge(make_run(accuracy=1)).steps] == [USE, OTHER]


def test_another_setting_is_compared_only_where_the_run_names_none():
    run = make_run(params=params.defaults() | {"data.images": "data/mine", "finetune.fine_tune_at": 100})
    assert judge(run).steps[-1].command == "dvc exp run -S finetune.fine_tune_at=120"
    run["phases"]["finetuned"]["accuracy"] = 1.0
    assert [step.command for step in judge(run).steps] == ["dvc exp run -S train.views=10", LOOK, USE]
