import numpy as np
import pandas as pd
import pytest

from stages.statistics import paired_changes


def right(a, b, groups=None):
    return pd.DataFrame({"path": range(len(a)), "group": groups or range(len(a)), "a": a, "b": b})


def losses(a, b, groups=None):
    return pd.DataFrame({"group": groups or range(len(a)), "loss_a": a, "loss_b": b})


@pytest.mark.parametrize(("gained", "lost"), [(12, 2), (3, 3), (0, 9)])
def test_the_interval_of_accuracy_is_about_that_of_theory(gained, lost):
    a = [True] * lost + [False] * gained + [True] * 200
    change = paired_changes.of_accuracy(right(a, [False] * lost + [True] * gained + [True] * 200))
    n, difference = len(a), (gained - lost) / len(a)
    deviation = np.sqrt(gained + lost - n * difference**2) / n
    assert change.difference == pytest.approx(difference)
    assert (change.low, change.high) == pytest.approx(
        (difference - 1.96 * deviation, difference + 1.96 * deviation), abs=0.35 * deviation + 1 / n
    )


@pytest.mark.parametrize("value", [True, False])
def test_equal_predictions_leave_a_change_possible_on_both_sides_alike(value):
    change = paired_changes.of_accuracy(right([value] * 60, [value] * 60))
    assert change.difference == 0 and change.high == pytest.approx(-change.low) and 0.01 < change.high < 0.06


@pytest.mark.parametrize(("gained", "holds_zero"), [(3, True), (5, True), (6, False), (12, False)])
def test_the_interval_of_accuracy_holds_zero_where_the_paired_test_finds_noise(gained, holds_zero):
    same = [True] * 50
    change = paired_changes.of_accuracy(right([False] * gained + same, [True] * gained + same))
    assert (change.low <= 0 <= change.high) == holds_zero


def test_the_interval_of_loss_is_students_for_single_images():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    change = paired_changes.of_loss(losses(a, b))
    half = 2.01 * (b - a).std(ddof=1) / np.sqrt(50)
    assert change.high - change.difference == pytest.approx(half, rel=0.08)
    assert change.difference - change.low == pytest.approx(half, rel=0.08)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_copies_of_images_are_no_further_evidence(metric):
    rng = np.random.default_rng(1)
    a, b = (rng.random((2, 40)) < 0.7) * 1.0
    of = paired_changes.of_accuracy if metric == "accuracy" else paired_changes.of_loss
    make = right if metric == "accuracy" else losses
    kind = bool if metric == "accuracy" else float
    once = of(make(a.astype(kind), b.astype(kind)))
    copies = of(make(np.repeat(a, 5).astype(kind), np.repeat(b, 5).astype(kind), [*np.repeat(range(40), 5)]))
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.1)


@pytest.mark.parametrize(("shift", "direction"), [(0.5, 1), (-0.5, -1), (0.001, 0)])
def test_the_direction_is_that_of_a_change_beyond_noise(shift, direction):
    a = np.random.default_rng(2).normal(size=(2, 100))
    assert paired_changes.of_loss(losses(a[0], a[0] + 0.1 * a[1] + shift)).direction == direction


def test_of_one_group_no_change_of_loss_is_beyond_noise():
    assert paired_changes.of_loss(losses([0.1, 0.2], [5, 6], [0, 0])).direction == 0
