import pandas as pd
import pytest

from stages.common.cli import UserError
from stages.images import partition


def manifest(counts):
    """A manifest of files that are all different."""
    rows = [(f"{name}/{i}", name, f"{name}{i}") for name, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["path", "class", "sha256"]).assign(group=range(len(rows)))


def test_every_class_is_divided_by_the_fractions():
    table = manifest({"a": 100, "b": 43, "c": 3})
    counts = pd.crosstab(table["class"], partition.assign(table, 0.2, 0.1, seed=1))
    assert counts.loc["a"].to_dict() == {"test": 10, "train": 70, "validation": 20}
    assert counts.loc["b"].to_dict() == {"test": 4, "train": 30, "validation": 9}
    assert counts.loc["c"].to_dict() == {"test": 1, "train": 1, "validation": 1}


def test_the_seed_decides_and_the_order_of_files_does_not():
    table = manifest({"a": 50, "b": 50})
    first = partition.assign(table, 0.2, 0.2, seed=1)
    backwards = partition.assign(table[::-1].reset_index(drop=True), 0.2, 0.2, seed=1)
    assert (first == backwards[::-1]).all()
    assert (first != partition.assign(table, 0.2, 0.2, seed=2)).any()


def test_more_files_move_others_only_at_the_borders():
    table = manifest({"a": 200, "b": 200})
    before = partition.assign(table, 0.2, 0.2, seed=1)
    more = pd.concat([table, manifest({"a": 210})[200:]], ignore_index=True).assign(group=range(410))
    assert (partition.assign(more, 0.2, 0.2, seed=1)[:400] != before).sum() <= 8


@pytest.mark.parametrize("seed", range(20))
def test_a_group_stays_together(seed):
    table = manifest({"a": 60, "b": 60})
    table["group"] = table.index % 40  # threes, across both classes too
    table["split"] = partition.assign(table, 0.2, 0.2, seed)
    assert (table.groupby("group")["split"].nunique() == 1).all()


def test_a_class_that_is_too_small_says_how_many_it_needs():
    with pytest.raises(UserError, match="class 'b' has 2 images, 2 of them different.* at least 3 "):
        partition.assign(manifest({"a": 9, "b": 2}), 0.2, 0.2, seed=1)
    with pytest.raises(UserError, match="class 'b' has 3 images.* at least 4 "):
        partition.assign(manifest({"a": 9, "b": 3}), 0.6, 0.2, seed=1)
    partition.assign(manifest({"a": 9, "b": 4}), 0.6, 0.2, seed=1)
