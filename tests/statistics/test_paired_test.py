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


def test_describes_in_words_whether_the_difference_is_more_than_noise():
    worse, best = [False] * 8 + [True] * 2, [True] * 10
    assert paired_test.describe_difference(table(worse, best), "old", "new") == (
        "Of 10 images, new alone is right on 8, and old alone on 0.\n"
        "Accuracy 0.2000 (old) against 1.0000 (new): the difference is more than noise, new is better (p = 0.0078)."
    )
    assert "old is better" in paired_test.describe_difference(table(best, worse), "old", "new")
    words = paired_test.describe_difference(table([False] * 2, [True] * 2), "old", "new")
    assert words.endswith("the difference is within noise (p = 0.5).")


@pytest.mark.parametrize(
    ("right", "words"),
    [
        ([True] * 60, "Both models are right on the same 60 images."),
        (
            [True] * 3 + [False],
            "Both models are right on the same 3, and wrong on the same 1 of 4 images: accuracy 0.7500.",
        ),
        ([False] * 2, "Both models are wrong on the same 2 images."),
        ([True], "Both models are right on the same 1 image."),
    ],
)
def test_says_so_where_both_are_right_on_the_same_images_without_a_test(right, words):
    assert paired_test.describe_difference(table(right, right), "old", "new") == words


def test_one_image_under_many_seeds_is_one_piece_of_evidence():
    seeds = pd.concat([table([False], [True], groups=[7])] * 20 + [table([True], [True], groups=[8])])
    words = paired_test.describe_difference(seeds.assign(path=seeds["group"]), "old", "new")
    assert words.startswith("Of 21 predictions for 2 images, new alone is right on 20")
    assert words.endswith("the difference is within noise (p = 1).")


def test_counts_the_images_that_only_one_gets_right():
    counts = paired_test.count_flips(table([True, True, False, False, False], [True, False, True, True, True]))
    assert counts == {"gained": 3, "lost": 1, "p_value": pytest.approx(stats.binomtest(3, 4).pvalue)}
    copies = paired_test.count_flips(table([False] * 6, [True] * 6, groups=[1, 1, 1, 2, 2, 2]))
    assert copies == {"gained": 6, "lost": 0, "p_value": 0.5}
