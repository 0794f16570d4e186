import pytest

from stages.training import learning_rate
from tests.training.support import make_params


def test_the_learning_rate_rises_and_falls_through_all_steps_of_the_phase():
    phase = make_params(learning_rate=0.4, warmup=0.2, schedule="cosine").finetune
    rates = [learning_rate.at(progress, phase) for progress in (0.05, 0.1, 0.2, 0.6, 0.999)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.4, 0.2]) and 0 < rates[4] < 1e-5
    constant = phase.model_copy(update={"schedule": "constant"})
    assert [learning_rate.at(progress, constant) for progress in (0.1, 0.2, 1)] == pytest.approx([0.2, 0.4, 0.4])


@pytest.mark.parametrize(("loss", "rate"), [(0.04, 0.000012), (0.16, 0.000024), (5, 0.00006 * 0.2**0.5)])
def test_fine_tuning_goes_further_the_more_there_is_left_to_learn(loss, rate, capsys):
    settings = make_params().finetune.model_copy(update={"learning_rate": "auto"})
    chosen = learning_rate.for_fine_tuning(settings, loss)
    assert chosen.learning_rate == pytest.approx(rate)
    assert capsys.readouterr().out.startswith(f"learning rate {rate:.2g}, for a training loss of {loss:.2g}")
    same = {"epochs", "passes", "warmup", "schedule", "averaging", "early_stopping"}
    assert chosen.model_dump(include=same) == settings.model_dump(include=same)


def test_a_learning_rate_that_is_a_number_is_taken(capsys):
    assert learning_rate.for_fine_tuning(make_params(learning_rate=0.3).finetune, 0.1).learning_rate == 0.3
    assert capsys.readouterr().out == ""
