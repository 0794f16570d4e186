import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.statistics import paired_test


def test_single_images_are_the_exact_mcnemar_test():
    for wins, losses in ((5, 0), (3, 1), (12, 4), (4, 4)):
        differences = np.array([1] * wins + [-1] * losses + [0] * 30)
        expected = stats.binomtest(wins, wins + losses).pvalue
        assert paired_test.permutation_test(differences) == pytest.approx(expected)
    assert paired_test.permutation_test(np.zeros(4, int)) == 1


def test_the_signs_of_a_group_flip_together():
    differences = np.array([3, 2, -1])  # of the 8 signs, +-(3, 2, 1) and +-(3, 2, -1) reach a sum of 4
    assert paired_test.permutation_test(differences) == 4 / 8


def table(a, b, groups=None):
    paths = [f"{number}.png" for number in range(len(a))]
    return pd.DataFrame({"path": paths, "group": groups or range(len(a)), "a": a, "b": b})


def test_describes_in_words_whether_the_difference_is_significant():
    words = paired_test.describe(table([False] * 8 + [True] * 2, [True] * 10), "old", "new")
    assert "new is right where old is wrong on 8, old where new is wrong on 0" in words
    assert (
        "Accuracy 0.2000 (old) against 1.0000 (new): the difference is significant, new is better (p = 0.0078)" in words
    )
    assert "old is better" in paired_test.describe(table([True] * 10, [False] * 8 + [True] * 2), "old", "new")
    assert "the difference is not significant (p = 0.5)" in paired_test.describe(
        table([False] * 2, [True] * 2), "old", "new"
    )


def test_one_image_under_many_seeds_is_one_piece_of_evidence():
    once = table([False], [True], groups=[7])
    assert "the difference is not significant (p = 1)" in paired_test.describe(pd.concat([once] * 20), "old", "new")


def test_counts_the_images_that_only_one_gets_right():
    counts = paired_test.count_flips(table([True, True, False, False, False], [True, False, True, True, True]))
    assert counts == {"gained": 3, "lost": 1, "p_value": pytest.approx(stats.binomtest(3, 4).pvalue)}
    copies = paired_test.count_flips(table([False] * 6, [True] * 6, groups=[1, 1, 1, 2, 2, 2]))
    assert copies == {"gained": 6, "lost": 0, "p_value": 0.5}
