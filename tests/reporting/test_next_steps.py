"""Next steps after made-up runs."""

import numpy as np
import pandas as pd

from stages.reporting import conclusions, next_steps
from stages.reporting.cards import Card
from tests.reporting.support import make_run

LOOK, USE = 'python -m webbrowser "file://$PWD/plots/report.html"', next_steps.PREDICT
OTHER = "dvc exp run -S finetune.fine_tune_at=100"
RISING = {"sizes": [50, 100], "doubled": {"gain": 0.06, "gain_interval": [0.02, 0.1]}}


def find(run):
    return next_steps.find(run, conclusions.draw(run))


def all_commands(run):
    return [step.command for step in find(run)]


def commands(run):
    """The commands of the steps that the run gives a reason for."""
    return [command for command in all_commands(run) if command not in (LOOK, USE, OTHER)]


def test_after_a_good_run_the_model_is_to_be_used():
    assert all_commands(make_run(accuracy=0.95)) == [LOOK, USE, OTHER]


def test_only_a_good_model_is_to_be_used_and_only_mistakes_are_to_be_looked_at():
    assert all_commands(make_run(accuracy=0.75)) == [LOOK, OTHER]
    assert all_commands(make_run(accuracy=1)) == [USE, OTHER]


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


def test_an_overfitted_run_asks_for_more_views():
    run = make_run(accuracy=0.75)
    run.finetune.accuracy = 0.99
    assert commands(run) == ["dvc exp run -S train.views=10"]


def test_fine_tuning_that_harms_is_taken_back():
    run = make_run()
    run.scores.changed = run.scores.changed.model_copy(update={"gained": 1, "lost": 9, "p_value": 0.02})
    assert commands(run) == ["dvc exp run -S finetune.keep=frozen"]


def test_doubtful_labels_are_a_step_unless_the_audit_estimates_no_errors():
    run = make_run(labels=pd.DataFrame({"path": ["a", "b"]}))
    for rate in (None, 0.0):
        run.audit.label_error_rate = rate
        assert commands(run) == []
    run.audit.label_error_rate = 0.01
    assert find(run)[0].reason.startswith("2 labels are doubtful")
    assert commands(run)[0] == "head -n 20 data/audit/labels.csv"


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
    falling = pd.DataFrame({"phase": "finetune", "val_loss": [0.3, 0.25, 0.2]})
    assert commands(make_run(history=falling)) == ["dvc exp run -S finetune.epochs=20"]


def test_a_larger_image_size_only_for_images_that_have_the_pixels():
    small = {"image_size": 96}
    assert commands(make_run(settings=small)) == ["dvc exp run -S image_size=224"]
    tiny = make_run(settings=small, overview={"sizes": np.array([[60, 80]] * 5)})
    assert "dvc exp run -S image_size=224" not in commands(tiny)


def test_another_setting_is_compared_only_where_the_run_names_none():
    run = make_run(settings={"finetune.fine_tune_at": 100})
    assert all_commands(run)[-1] == "dvc exp run -S finetune.fine_tune_at=120"
    run.finetune.accuracy = 1.0
    assert all_commands(run) == ["dvc exp run -S train.views=10", LOOK, USE]
