import pandas as pd
import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.images import partition


def assign(table, validation=0.2, test=0.2, seed=1):
    data = params.Data(
        images="mine", validation=validation, test=test, split="auto", on_unreadable="error", on_label_conflict="error"
    )
    return partition.assign(table, data, seed)


def manifest(counts):
    """A manifest of files that are all different."""
    rows = [(f"{name}/{i}", name, f"{name}{i}") for name, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["path", "class", "sha256"]).assign(group=range(len(rows)))


def test_every_class_is_divided_by_the_fractions():
    table = manifest({"a": 100, "b": 43, "c": 3})
    counts = pd.crosstab(table["class"], assign(table, test=0.1))
    assert counts.loc["a"].to_dict() == {"test": 10, "train": 70, "validation": 20}
    assert counts.loc["b"].to_dict() == {"test": 4, "train": 30, "validation": 9}
    assert counts.loc["c"].to_dict() == {"test": 1, "train": 1, "validation": 1}


def test_the_seed_decides_and_the_order_of_files_does_not():
    table = manifest({"a": 50, "b": 50})
    first = assign(table)
    backwards = assign(table[::-1].reset_index(drop=True))
    assert (first == backwards[::-1]).all()
    assert (first != assign(table, seed=2)).any()


def test_more_files_move_others_only_at_the_borders():
    table = manifest({"a": 200, "b": 200})
    before = assign(table)
    more = pd.concat([table, manifest({"a": 210})[200:]], ignore_index=True).assign(group=range(410))
    assert (assign(more)[:400] != before).sum() <= 8


@pytest.mark.parametrize("seed", range(20))
def test_a_group_stays_together(seed):
    table = manifest({"a": 60, "b": 60})
    table["group"] = table.index % 40  # threes, across both classes too
    table["split"] = assign(table, seed=seed)
    assert (table.groupby("group")["split"].nunique() == 1).all()


def test_a_class_that_is_too_small_says_how_many_it_needs():
    with pytest.raises(UserError, match="class 'b' has 2 images, 2 of them different.* at least 3 "):
        assign(manifest({"a": 9, "b": 2}))
    with pytest.raises(UserError, match="class 'b' has 3 images.* at least 4 "):
        assign(manifest({"a": 9, "b": 3}), validation=0.6)
    assign(manifest({"a": 9, "b": 4}), validation=0.6)
