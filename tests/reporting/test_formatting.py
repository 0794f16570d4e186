import re

import pytest

from stages.reporting import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97512345, "0.975"),
        (1, "1.000"),
        (0, "0.000"),
        (0.0123, "0.012"),
        (0.00123456, "0.0012"),
        (0.00002, "0.00002"),
    ],
)
def test_a_number_has_three_decimals_or_two_significant_digits(value, text):
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ([0.9312, 0.9888], "0.93 to 0.99"),
        ([0.9712, 0.9788], "0.971 to 0.979"),
        ([0.0004, 0.0025], "0.0004 to 0.0025"),
    ],
)
def test_an_interval_has_the_digits_that_tell_its_bounds_apart(bounds, text):
    assert formatting.interval(bounds) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.975, "97.5%"), (1, "100%"), (0.03, "3%"), (0.99999, ">99.9%"), (0.0001, "<0.1%"), (0, "0%")],
)
def test_a_percentage_is_not_rounded_to_none_or_all(fraction, text):
    assert formatting.percent(fraction) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00002, "0.00002"), (0.5, "0.5"), (32, "32"), ("max_f1", "max_f1"), ({"accuracy": 0.9}, "accuracy: 0.9")],
)
def test_a_setting_is_written_as_in_params_yaml(value, text):
    assert formatting.setting(value) == text


FORMATS = [formatting.number, formatting.percent, formatting.points]
FORMATS += [lambda value: formatting.interval([value, value + 0.03]), lambda value: formatting.interval([value, 1])]
FORMATS += [lambda value: formatting.percent_interval([value, 0.02]), lambda value: formatting.pair(value, 0.5)[0]]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [-0.0, -1e-9, -0.0004, -0.0049, -1e-17])
def test_nothing_is_a_negative_zero(form, value):
    assert not re.match(r"-0(\.0*)?(%|$| )", form(value))


def test_a_difference_below_zero_keeps_its_sign():
    assert [formatting.points(value) for value in (-0.0004, -0.0006, 0.0004)] == ["0.0", "-0.1", "0.0"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [((0.2, 0.3), ["0.200", "0.300"]), ((0.0171, 0.0172), ["0.0171", "0.0172"]), ((0.5, 0.5), ["0.500", "0.500"])],
)
def test_two_numbers_that_differ_look_different(values, texts):
    assert formatting.pair(*values) == texts


def test_an_interval_of_percentages_is_not_rounded_to_all():
    assert formatting.percent_interval([0.931, 0.99999]) == "93.1% to >99.9%"


def test_a_difference_is_in_percentage_points():
    assert formatting.points(-0.0123) == "-1.2"
