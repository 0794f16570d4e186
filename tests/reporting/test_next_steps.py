"""Next steps after made-up runs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from stages.reporting import conclusions, next_steps
from stages.reporting.cards import Card
from stages.statistics import paired_test
from tests.reporting.support import make_history, make_run

LOOK, APPLY = next_steps.REVIEW, next_steps.RELABEL
USE, CROSS_VALIDATE = next_steps.PREDICT, next_steps.CROSS_VALIDATE
OTHER = "dvc exp run -S finetune.fine_tune_at=100"
RISING = {"sizes": [50, 100], "doubled": {"gain": 0.06, "gain_interval": [0.02, 0.1]}}


def find(run):
    return next_steps.find(run, conclusions.draw(run))


def all_commands(run):
    return [step.command for step in find(run)]


def commands(run):
    """The commands of the steps that the run gives a reason for."""
    return [command for command in all_commands(run) if command not in (LOOK, APPLY, USE, OTHER)]


def test_after_a_good_run_the_model_is_to_be_used():
    assert all_commands(make_run(accuracy=0.95)) == [LOOK, APPLY, USE, OTHER]


def test_only_a_good_model_is_to_be_used_and_only_mistakes_are_to_be_looked_at():
    assert all_commands(make_run(accuracy=0.75)) == [LOOK, APPLY, OTHER]
    assert all_commands(make_run(accuracy=1)) == [USE, CROSS_VALIDATE]


def test_where_all_test_images_are_right_a_larger_test_is_advised_and_no_setting():
    settings = {"image_size": 96}  # for which a run with mistakes asks for larger images
    run = make_run(accuracy=1, per_class=30, settings=settings, history=make_history([0.3, 0.25, 0.2]))
    *_, last = find(run)
    assert last.reason.startswith("All 60 test images are predicted correctly. No other setting could be")
    assert "more images" in last.reason and all_commands(run) == [USE, CROSS_VALIDATE]


@pytest.mark.parametrize(("wrong", "advice"), [(1, CROSS_VALIDATE), (2, CROSS_VALIDATE), (3, OTHER)])
def test_another_setting_is_compared_only_where_it_could_be_better_by_more_than_noise(wrong, advice):
    assert all_commands(make_run(accuracy=1 - wrong / 100))[-1] == advice  # of each of two classes, so many are wrong
    gained = np.ones(2 * wrong, int)
    assert (paired_test.permutation_test(gained) < paired_test.SIGNIFICANCE) == (advice == OTHER)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"history": make_history([0.3, 0.25, 0.2])}, "finetune.epochs=20"),
        ({"settings": {"image_size": 96}}, "image_size=224"),
        ({"history": make_history([0.2, 0.15, 0.18, 0.24], [0.2, 0.1, 0.05, 0.02])}, "finetune.early_stopping"),
    ],
)
def test_no_setting_is_advised_where_none_could_be_better_by_more_than_noise(changes, setting):
    for accuracy, advised in ((0.98, False), (0.97, True)):  # 4 mistakes, and 6
        run = make_run(accuracy=accuracy, **changes)
        run.finetune.kept_epoch = int(run.history["epoch"].iloc[-1])
        assert any(setting in command for command in all_commands(run)) == advised
        assert (all_commands(run)[-1] == CROSS_VALIDATE) != advised


def test_images_are_asked_for_where_more_would_help():
    step = find(make_run(accuracy=0.75, learning_curve=RISING))[0]
    assert "6.0 percentage points (95% interval 2.0 to 10.0" in step.reason
    assert step.command == "cp -r new_images/. data/mine && dvc repro"


def test_no_images_are_asked_for_of_a_data_set_with_a_card():
    assert commands(make_run(learning_curve=RISING, images_card=Card(description="All.", licence="CC0"))) == []


def test_folders_are_quoted_for_the_shell():
    run = make_run(learning_curve=RISING, settings={"data.images": "my images; rm -rf $HOME"})
    assert commands(run) == ["cp -r new_images/. 'my images; rm -rf $HOME' && dvc repro"]


def test_images_are_to_be_checked_after_a_run_that_guesses():
    run = make_run(accuracy=0.55)
    assert commands(run) == ["ls data/mine/*"]
    run.finetune.accuracy = 1.0  # the labels are learnt by heart
    assert commands(run) == ["ls data/mine/*", "dvc exp run -S train.views=10"]


def test_a_rising_loss_asks_for_the_epoch_where_it_is_lowest():
    run = make_run(history=make_history([0.2, 0.15, 0.18, 0.24], [0.2, 0.1, 0.05, 0.02]))
    run.finetune.kept_epoch = 6
    assert commands(run) == ["dvc exp run -S finetune.early_stopping.monitor=val_loss"]


def test_an_overfitted_run_asks_for_more_views():
    run = make_run(accuracy=0.75)
    run.finetune.accuracy = 0.99
    assert commands(run) == ["dvc exp run -S train.views=10"]


def test_fine_tuning_that_harms_is_taken_back():
    run = make_run()
    run.scores.changed = run.scores.changed.model_copy(update={"gained": 1, "lost": 9, "p_value": 0.02})
    assert commands(run) == ["dvc exp run -S finetune.keep=frozen"]


MIXED = pd.DataFrame({"duplicates": [0, 0, 1, 1, 2, 2], "classes_mix": [1, 1, 0, 0, 1, 1]})


@pytest.mark.parametrize(
    ("rate", "labels", "accuracy", "mixed", "what"),
    [
        (None, 0, 1, False, ""),
        (0.0, 2, 1, False, ""),  # the classifiers make about as many mistakes
        (0.01, 2, 1, False, "2 doubtful labels"),
        (0.01, 1, 0.99, False, "1 doubtful label and 2 mistakes"),
        (0.0, 2, 0.95, False, "10 mistakes"),
        (None, 0, 1, True, "2 sets of near-duplicates with different labels"),
        (0.01, 31, 0.95, True, "31 doubtful labels, 2 sets of near-duplicates with different labels and 10 mistakes"),
    ],
)
def test_labels_are_to_be_reviewed_corrected_and_compared(rate, labels, accuracy, mixed, what):
    run = make_run(accuracy=accuracy, labels=pd.DataFrame({"path": [f"{row}" for row in range(labels)]}))
    run.audit.label_error_rate = rate
    run = dataclasses.replace(run, near_duplicates=MIXED if mixed else run.near_duplicates)
    if not what:
        assert LOOK not in all_commands(run) and APPLY not in all_commands(run)
        return
    [look] = [step for step in find(run) if step.command == LOOK]
    [correct] = [step for step in find(run) if step.command == APPLY]
    assert find(run)[0] == look
    assert look.reason == f"Look at {what}, correct the labels that are wrong, and save the corrections."
    assert look.command == 'python -m webbrowser "file://$PWD/plots/review.html"' and correct.command == (
        'git commit -qam "Before corrections"; python -m stages.tools.relabel ~/Downloads/corrections.csv '
        "&& dvc repro && python -m stages.tools.compare"
    )


@pytest.mark.parametrize(
    ("corrections", "applied"),
    [
        ({}, 0),
        ({"changed": 0, "labelled": 0, "confirmed": 3, "dropped": 0, "unsure": 1, "obsolete": 1}, 0),  # change nothing
        ({"changed": 1, "labelled": 0, "confirmed": 3, "dropped": 0, "unsure": 0, "obsolete": 0}, 1),
        ({"changed": 4, "labelled": 1, "confirmed": 0, "dropped": 2, "unsure": 0, "obsolete": 0}, 7),
    ],
)
def test_after_corrections_a_comparison_comes_first(corrections, applied):
    run = make_run()
    run.split.corrections = corrections
    first = find(run)[0]
    assert (first.command == "python -m stages.tools.compare") == bool(applied)
    assert not applied or first.reason.startswith(f"{applied} correction")


def test_rare_classes_that_do_worse_are_weighted():
    weigh = "dvc exp run -S train.class_weights=balanced"

    def run_of(rare_right, **settings):
        run = make_run(accuracy=0.9, settings=settings)
        run.split.train = {"kind 0": 300, "kind 1": 60}
        rare = run.predictions["actual"] == "kind 1"
        run.predictions.loc[rare, "predicted"] = ["kind 0"] * (100 - rare_right) + ["kind 1"] * rare_right
        return run

    assert weigh not in commands(run_of(90))  # they do as well
    assert weigh in commands(run_of(50))
    assert weigh not in commands(run_of(50, **{"train.class_weights": "balanced"}))


def test_a_loss_that_still_fell_asks_for_more_epochs():
    falling = make_history([0.3, 0.25, 0.2])
    assert commands(make_run(history=falling)) == ["dvc exp run -S finetune.epochs=20"]


def test_a_larger_image_size_only_for_images_that_have_the_pixels():
    small = {"image_size": 96}
    assert commands(make_run(settings=small)) == ["dvc exp run -S image_size=224"]
    tiny = make_run(settings=small, overview={"sizes": np.array([[60, 80]] * 5)})
    assert "dvc exp run -S image_size=224" not in commands(tiny)


@pytest.mark.parametrize("layer", [100, 80, 154])
def test_after_another_layer_the_default_is_not_advised(layer):
    run = make_run(settings={"finetune.fine_tune_at": layer})
    assert all_commands(run)[-1] == CROSS_VALIDATE


def test_another_setting_is_compared_only_where_the_run_names_none():
    run = make_run(accuracy=0.9)
    run.finetune.accuracy = 1.0
    assert all_commands(run) == ["dvc exp run -S train.views=10", LOOK, APPLY, USE]


@pytest.mark.parametrize("value", [{"accuracy": 0.75}, {"settings": {"image_size": 96}}, {"accuracy": 0.95}])
def test_a_step_that_changes_a_setting_names_it_and_its_value(value):
    experiments = [step for step in find(make_run(**value)) if step.command.startswith(next_steps.EXPERIMENT)]
    assert experiments and all(step.command.endswith(f" {step.key}={step.value}") for step in experiments)
