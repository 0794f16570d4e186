import pytest

from stages.training import learning_rate
from tests.training.support import make_params


def test_the_learning_rate_rises_and_falls_through_all_steps_of_the_phase():
    phase = make_params(learning_rate=0.4, warmup=0.2, schedule="cosine").finetune
    rates = [learning_rate.at(progress, phase) for progress in (0.05, 0.1, 0.2, 0.6, 0.999)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.4, 0.2]) and 0 < rates[4] < 1e-5
    constant = phase.model_copy(update={"schedule": "constant"})
    assert [learning_rate.at(progress, constant) for progress in (0.1, 0.2, 1)] == pytest.approx([0.2, 0.4, 0.4])
