import numpy as np
import pytest

from stages.training import learning_rate
from tests.training.support import make_params


def test_the_learning_rate_rises_and_falls_through_all_steps_of_the_phase():
    phase = make_params(learning_rate=0.4, warmup=0.2, schedule="cosine").finetune
    rates = learning_rate.schedule(phase, 1001)  # the rate of a step is that of its middle
    assert rates.dtype == np.float32 and rates[[50, 100, 600]].tolist() == pytest.approx([0.1, 0.2, 0.2], rel=0.01)
    assert rates.argmax() == 200 and rates.max() == pytest.approx(0.4) and 0 < rates[-1] < 1e-6
    constant = learning_rate.schedule(phase.model_copy(update={"schedule": "constant"}), 1001)
    assert constant[[100, 200, 1000]].tolist() == pytest.approx([0.2, 0.4, 0.4], rel=0.01)
    cold = learning_rate.schedule(phase.model_copy(update={"warmup": 0}), 2)
    assert cold.tolist() == pytest.approx([0.4 * (1 + 0.5**0.5) / 2, 0.4 * (1 - 0.5**0.5) / 2])


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
