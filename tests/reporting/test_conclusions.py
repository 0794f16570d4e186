"""Conclusions from made-up runs."""

import dataclasses

import pandas as pd
import pytest

from stages.reporting import conclusions
from tests.reporting.support import make_history, make_run


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
    assert found.overfits == "gap"
    assert found.overfitting.startswith(
        "It overfits: accuracy 99% in training, 75% in validation, 24.0 percentage points lower (95% interval 18."
    )


def test_a_gap_that_few_images_explain_is_no_overfitting():
    run = make_run(accuracy=0.8, per_class=5)
    run.finetune.accuracy = 0.9
    found = conclusions.draw(run)
    assert found.overfits == "no"
    assert found.overfitting.startswith(
        "No sign of overfitting: accuracy 90% in training, 80% in validation, 10.0 percentage points lower"
    )
    assert found.overfitting.endswith("within noise.")


def test_near_duplicates_count_as_one_image():
    run = make_run(accuracy=0.9, per_class=50)
    run.finetune.accuracy = 0.99
    assert conclusions.draw(run).overfits == "gap"
    run.split.groups = 50
    assert conclusions.draw(run).overfits == "no"


@pytest.mark.parametrize(("validation", "overfits"), [(0.984, "no"), (0.96, "no"), (0.9, "gap")])
def test_a_model_that_is_right_on_all_training_images_overfits_only_where_much_is_to_gain(validation, overfits):
    run = make_run(accuracy=validation, per_class=1000)
    run.finetune.accuracy = 1.0
    found = conclusions.draw(run)
    assert found.overfits == overfits
    assert found.overfitting.startswith("It overfits" if overfits == "gap" else "No harmful overfitting: accuracy 100%")


@pytest.mark.parametrize(
    ("val_losses", "losses", "overfits"),
    [
        ([0.2, 0.15, 0.18, 0.24], [0.2, 0.1, 0.05, 0.02], "loss"),
        ([0.2, 0.15, 0.18, 0.24], [0.2, 0.1, 0.15, 0.2], "no"),  # the training loss rose as well
        ([0.2, 0.2, 0.15, 0.24], [0.2, 0.1, 0.05, 0.02], "no"),  # one epoch may fluctuate
        ([0.2, 0.23, 0.235, 0.24], [0.2, 0.1, 0.05, 0.02], "loss"),
        ([0.25, 0.23, 0.235, 0.24], [0.2, 0.1, 0.05, 0.02], "no"),  # by less than a tenth
        ([0.3, 0.27, 0.25, 0.24], [0.2, 0.1, 0.05, 0.02], "no"),
    ],
)
def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting(val_losses, losses, overfits):
    run = make_run(history=make_history(val_losses, losses))
    run.finetune.kept_epoch, run.finetune.val_loss = 6, val_losses[-1]
    found = conclusions.draw(run)
    assert found.overfits == overfits
    if val_losses[1] == 0.15 and overfits == "loss":
        assert found.overfitting == (
            "It overfits: from epoch 4 to epoch 6, which is kept, the validation loss rose from 0.150 to 0.240, while "
            "the training loss fell from 0.100 to 0.020."
        )
    run.finetune.kept_epoch = 4  # what came later is not in the model
    assert conclusions.draw(run).overfits == "no"


def test_a_run_of_many_classes_is_measured_against_chance():
    assert conclusions.draw(make_run(classes=40, per_class=10, accuracy=0.2)).quality == "fair"  # guessing: 2.5%
    assert conclusions.draw(make_run(classes=40, per_class=10, accuracy=0.9)).quality == "good"
    # Nine tenths are of one class: 92% are hardly better than always predicting it.
    actual = ["a"] * 180 + ["b"] * 20
    predictions = pd.DataFrame(
        {"actual": actual, "predicted": ["a"] * 180 + ["b"] * 4 + ["a"] * 16, "path": "", "probability": 1.0}
    )
    run = make_run(accuracy=0.92, classes=2, predictions=predictions)
    run.split.test = {"kind 0": 180, "kind 1": 20}
    assert conclusions.draw(run).quality == "guessing"


def test_kappa():
    table = pd.DataFrame({"actual": list("aaaabbbbbb"), "predicted": list("aaabbbbbba")})
    assert conclusions.cohens_kappa(table) == pytest.approx((0.8 - 0.52) / 0.48)  # by hand: 0.4 * 0.4 + 0.6 * 0.6
    assert conclusions.cohens_kappa(pd.DataFrame({"actual": ["a"], "predicted": ["a"]})) == 0


LOWER = "its validation loss is lower than that of the frozen model of epoch 2: 0.200 against 0.300."
NOT_LOWER = "the fine-tuned model of epoch 5 has no lower validation loss: 0.400 against 0.300."


@pytest.mark.parametrize(
    ("model", "keep", "text"),
    [
        ("finetuned", "better", f"The fine-tuned model of epoch 5 is exported, as {LOWER}"),
        ("frozen", "better", f"The frozen model of epoch 2 is exported, as {NOT_LOWER}"),
        (
            "finetuned",
            "finetuned",
            "The fine-tuned model of epoch 5 is exported, as finetune.keep is finetuned; the valid",
        ),
        (
            "frozen",
            "frozen",
            "The frozen model of epoch 2 is exported, as finetune.keep is frozen; the validation loss is",
        ),
    ],
)
def test_the_exported_model_and_the_losses_of_those_it_was_chosen_from(model, keep, text):
    run = run_of([0.5, 0.45, 0.4] if model == "frozen" else [0.4, 0.3, 0.2], model, {"finetune.keep": keep})
    assert conclusions.draw(run).exported_model.startswith(text)
    assert " had a lower one" not in conclusions.draw(run).exported_model


def run_of(val_losses, model="finetuned", settings=(), kept=None):
    """A run whose epochs of finetune have these losses, and which keeps the last of them, or number `kept`."""
    run = make_run(settings=settings, history=make_history(val_losses))
    epoch = kept or 2 + len(val_losses)
    run.finetune.candidates.finetuned.epoch = epoch
    run.finetune.candidates.finetuned.val_loss = val_losses[epoch - 3]
    candidate = getattr(run.finetune.candidates, model)
    run.finetune.model, run.finetune.kept_epoch, run.finetune.val_loss = model, candidate.epoch, candidate.val_loss
    return run


@pytest.mark.parametrize(
    ("val_losses", "model", "settings", "kept", "text"),
    [
        ([0.02, 0.011, 0.017], "finetuned", {}, None, " Epoch 4 had a lower one, 0.011, but the last epoch is kept."),
        (
            [0.4, 0.29, 0.5],
            "frozen",
            {},
            None,
            " Epoch 4 had a lower one, 0.290, but the last epoch of finetune is kept.",
        ),
        (
            [0.2, 0.1, 0.15],
            "finetuned",
            {"finetune.early_stopping": {"monitor": "val_accuracy", "patience": 3}},
            3,
            " Epoch 4 had a lower one, 0.100, but the epoch with the best val_accuracy is kept.",
        ),
        ([0.2, 0.1, 0.15], "finetuned", {"finetune.early_stopping": {"monitor": "val_loss", "patience": 3}}, 4, ""),
    ],
)
def test_an_epoch_with_a_lower_loss_than_the_exported_one_is_named(val_losses, model, settings, kept, text):
    found = conclusions.draw(run_of(val_losses, model, settings, kept)).exported_model
    assert text in found and (" had a lower one" in found) == bool(text)


def test_losses_that_look_alike_have_more_decimals():
    run = run_of([0.4, 0.3, 0.29996])
    assert "0.29996 against 0.30000" in conclusions.draw(run).exported_model


def test_the_weights_that_are_kept_are_averages_of_those_of_an_epoch():
    assert conclusions.draw(make_run()).kept_weights == (
        "The frozen model has the weights of epoch 2, the last epoch of train_frozen; the fine-tuned model has the "
        "weights of epoch 5, the last epoch of finetune, averaged over about 30% of all steps of finetune. The "
        "fine-tuned model is exported."
    )
    settings = {"finetune.averaging": 0, "train_frozen.early_stopping": {"monitor": "val_loss", "patience": 3}}
    text = conclusions.draw(run_of([0.4, 0.4], "frozen", settings)).kept_weights
    assert "averaged" not in text and "epoch 2, the epoch with the best val_loss of train_frozen;" in text
    assert text.endswith("The frozen model is exported.")


@pytest.mark.parametrize(
    ("accuracy", "doubted", "mistakes", "text"),
    [
        (1, 0, "All 200 test images are predicted correctly.", ""),
        (0.95, 0, "10 of 200 test images are misclassified.", ""),
        (
            0.95,
            1,
            "10 of 200 test images are misclassified.",
            "1 of the 10 mistakes has a label that the audit doubts.",
        ),
        (0.99, 1, "2 of 200 test images are misclassified.", "1 of the 2 mistakes has a label that the audit doubts."),
        (
            0.95,
            4,
            "10 of 200 test images are misclassified.",
            "4 of the 10 mistakes have labels that the audit doubts.",
        ),
    ],
)
def test_mistakes_whose_labels_the_audit_doubts_are_counted(accuracy, doubted, mistakes, text):
    run = make_run(accuracy=accuracy)
    paths = [*run.mistakes["path"][:doubted], *run.predictions["path"][:3], "train.jpg"]  # the first three are right
    found = conclusions.draw(dataclasses.replace(run, labels=pd.DataFrame({"path": paths})))
    assert (found.mistakes, found.doubted) == (mistakes, text)


@pytest.mark.parametrize(
    ("gained", "lost", "p_value", "text"),
    [
        (1, 9, 0.02, "1 gained, 9 lost: the difference is more than noise, frozen is better (p = 0.02)"),
        (9, 1, 0.02, "9 gained, 1 lost: the difference is more than noise, fine-tuned is better (p = 0.02)"),
        (5, 1, 0.22, "5 gained, 1 lost: the difference is within noise (p = 0.22)"),
    ],
)
def test_the_difference_of_both_models_is_more_than_noise_or_within_it(gained, lost, p_value, text):
    run = make_run()
    changes = {"gained": gained, "lost": lost, "p_value": p_value}
    run.scores.changed = run.scores.changed.model_copy(update=changes)
    found = conclusions.draw(run)
    assert found.flips == text
    assert found.exported_model.endswith(f" Its accuracy on the test images is 95% against 93%; {text}.")


@pytest.mark.parametrize(("accuracy", "right"), [(1, 200), (0.95, 190), (0.9, 180)])
def test_models_that_are_right_on_the_same_images_are_said_to_be_that(accuracy, right):
    run = make_run(accuracy=accuracy)
    run.scores.changed = run.scores.changed.model_copy(update={"gained": 0, "lost": 0, "p_value": 1.0})
    found = conclusions.draw(run)
    assert found.flips == f"Both models are right on the same {right} test images."
    assert found.exported_model.endswith(f" {found.flips}") and "p = " not in found.exported_model


def test_the_only_mistake_may_be_on_a_doubted_label():
    run = make_run(accuracy=1)
    run.predictions.loc[7, "predicted"] = "kind 1"
    found = conclusions.draw(dataclasses.replace(run, labels=run.mistakes[["path"]]))
    assert f"{found.mistakes} {found.doubted}" == (
        "1 of 200 test images is misclassified. The audit doubts the label of that image."
    )


def test_int8_that_predicts_other_classes_is_named():
    run = make_run()
    run.exports["int8"]["agreement"] = 0.61
    text = conclusions.draw(run).int8
    assert text.startswith("Do not use int8 unchecked: it predicts the class of the SavedModel for 61% of the test")
    assert text.endswith("The smallest file that agrees is float16, which predicts the same class for 100%.")
    run.exports["int8"]["agreement"] = 0.985  # 3 of 200 images: 99% lies in the interval
    assert conclusions.draw(run).int8.startswith("int8 may be used")


def test_the_smallest_file_is_the_smallest_that_agrees():
    run = make_run()
    assert conclusions.draw(run).smallest_file == "int8"
    run.exports["int8"]["agreement"] = 0.61
    assert conclusions.draw(run).smallest_file == "float16"
    run.exports["float16"]["agreement"] = 0.9
    assert conclusions.draw(run).smallest_file == "savedmodel"
    assert "float16" not in conclusions.draw(run).int8


def test_says_how_many_images_it_answers_and_flags():
    assert conclusions.draw(make_run(classes=3)).novelty == (
        "It answers 95% of images like these (95% interval 89.9% to 98.9%), and is wrong on 3% of them (0% to 6.9%). "
        "It flags 98% of foreign images (92.9% to 100%; charts, portraits), and an estimated 60% of images of classes "
        "that it never saw (54.9% to 63.9%)."
    )
    of_two = conclusions.draw(make_run(classes=2)).novelty
    assert of_two.endswith("It flags 98% of foreign images (92.9% to 100%; charts, portraits).")
    run = make_run(classes=3)
    run.novelty.wrong = None  # all test images are flagged
    assert "is wrong" not in conclusions.draw(run).novelty


def test_without_a_threshold_it_says_that_the_model_cannot_tell():
    run = make_run(classes=3)
    run.novelty.answered = run.novelty.foreign = run.novelty.wrong = run.novelty.unseen = None
    run.novelty.finding = "The model cannot tell."
    assert conclusions.draw(run).novelty == "The model cannot tell." and run.flagged == {}
