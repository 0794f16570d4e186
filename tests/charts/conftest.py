"""Fixtures of the tests of charts."""

import pytest

from stages.charts import base


@pytest.fixture(autouse=True)
def style():
    """Charts are made as the stages make them, whatever the matplotlibrc of the user."""
    with base.style():
        yield
