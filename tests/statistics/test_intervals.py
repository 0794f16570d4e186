import numpy as np
import pytest
from scipy import stats

from stages.statistics import intervals


def test_jeffreys_interval_reaches_0_and_1_where_all_or_none_are_hits():
    low, high = intervals.jeffreys(np.array([0, 3, 40]), np.array([40, 10, 40]))
    assert low.tolist() == pytest.approx([0, stats.beta.ppf(0.025, 3.5, 7.5), stats.beta.ppf(0.025, 40.5, 0.5)])
    assert high.tolist() == pytest.approx([stats.beta.ppf(0.975, 0.5, 40.5), stats.beta.ppf(0.975, 3.5, 7.5), 1])


@pytest.mark.parametrize(("hits", "tries"), [(0, 10), (7, 10), (10, 10), (190, 200)])
def test_wilsons_interval_is_that_of_scipy(hits, tries):
    expected = stats.binomtest(hits, tries).proportion_ci(method="wilson")
    assert intervals.wilson(hits / tries, tries) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_newcombes_interval_is_that_of_his_first_example():
    assert intervals.newcombe(56 / 70, 48 / 80, 70, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_interval_of_replicates_holds_the_value_itself():
    replicates = np.linspace(0, 1, 1001)
    assert intervals.of_replicates(replicates, 0.5) == pytest.approx([0.025, 0.975])
    assert intervals.of_replicates(replicates, 0.01) == pytest.approx([0.01, 0.975])
    assert intervals.of_replicates(replicates, 1.5) == pytest.approx([0.025, 1.5])
