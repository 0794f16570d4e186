import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from stages.common import params
from stages.common.cli import UserError
from stages.splits import assign, groups


def assigned(table, validation=0.2, test=0.2, seed=1, fold="none"):
    data = params.Data(images="mine", validation=validation, test=test, fold=fold)
    defaults = {"duplicates": table["group"], "split": ""}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    return assign.to_splits(table, data, seed)


def manifest(counts):
    """A manifest of files that are all different."""
    rows = [(f"{name}/{i}", name, f"{name}{i}") for name, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["path", "class", "sha256"]).assign(group=range(len(rows)), blank=False)


def test_every_class_is_divided_by_the_fractions():
    table = manifest({"a": 100, "b": 43, "c": 3})
    counts = pd.crosstab(table["class"], assigned(table, test=0.1))
    assert counts.loc["a"].to_dict() == {"test": 10, "train": 70, "validation": 20}
    assert counts.loc["b"].to_dict() == {"test": 4, "train": 30, "validation": 9}
    assert counts.loc["c"].to_dict() == {"test": 1, "train": 1, "validation": 1}


def test_the_seed_decides_and_the_order_of_files_does_not():
    table = manifest({"a": 50, "b": 50})
    first = assigned(table)
    backwards = assigned(table[::-1].reset_index(drop=True))
    assert (first == backwards[::-1]).all()
    assert (first != assigned(table, seed=2)).any()


def test_more_files_move_others_only_at_the_borders():
    table = manifest({"a": 200, "b": 200})
    before = assigned(table)
    more = pd.concat([table, manifest({"a": 210})[200:]], ignore_index=True).assign(group=range(410))
    assert (assigned(more)[:400] != before).sum() <= 8


@pytest.mark.parametrize("seed", range(20))
def test_a_group_stays_together(seed):
    table = manifest({"a": 60, "b": 60})
    table["group"] = table.index % 40  # threes, across both classes too
    table["split"] = assigned(table, seed=seed)
    assert (table.groupby("group")["split"].nunique() == 1).all()


def test_a_class_that_is_too_small_says_how_many_it_needs():
    with pytest.raises(UserError, match="class 'b' has 2 images, which is too few.* at least 3 "):
        assigned(manifest({"a": 9, "b": 2}))
    with pytest.raises(UserError, match="class 'b' has 3 images.* at least 4 "):
        assigned(manifest({"a": 9, "b": 3}), validation=0.6)
    assigned(manifest({"a": 9, "b": 4}), validation=0.6)


def folds(table, count, **settings):
    """The fold of each image, from 1; each is in exactly one."""
    tested = [assigned(table, fold=f"{fold}/{count}", **settings) == "test" for fold in range(1, count + 1)]
    assert (np.sum(tested, axis=0) == 1).all()
    return np.argmax(tested, axis=0) + 1


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_every_image_is_in_one_fold_and_folds_are_as_equal_as_they_can_be(count):
    table = manifest({"a": 101, "b": 43, "c": 20})
    sizes = pd.crosstab(table["class"], folds(table, count))
    assert (sizes.max(axis=1) - sizes.min(axis=1) <= 1).all()
    assert np.ptp(sizes.sum()) <= 1


def test_a_fold_leaves_validation_as_it_is_and_does_not_ask_for_data_test():
    table = manifest({"a": 100, "b": 50})
    split = assigned(table, fold="2/5", test=0.5)
    assert (split == assigned(table, fold="2/5", test=0.1)).all()
    assert pd.crosstab(table["class"], split).loc["a"].to_dict() == {"test": 20, "train": 60, "validation": 20}


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_fold_and_its_classes_are_spread(seed):
    table = manifest({"a": 60, "b": 60})
    table["group"] = table.index % 40  # threes, across both classes too
    table["fold"] = folds(table, 5, seed=seed)
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    assert pd.crosstab(table["class"], table["fold"]).stack().between(10, 14).all()


def test_groups_of_very_different_sizes_leave_no_fold_without_a_class():
    table = manifest({"a": 40, "b": 40})
    table["group"] = np.where(table.index < 36, 0, table.index)  # one of 36, and four single ones, of class a
    assert (pd.crosstab(table["class"], folds(table, 5, validation=0.01)) > 0).all(axis=None)


def test_the_seed_decides_the_fold_and_the_order_of_files_does_not():
    table = manifest({"a": 50, "b": 50})
    first = folds(table, 5)
    backwards = folds(table[::-1].reset_index(drop=True).assign(group=range(100)), 5)
    assert (first == backwards[::-1]).all()
    assert (first != folds(table, 5, seed=2)).any()


@pytest.mark.parametrize(("counts", "count"), [({"a": 9, "b": 4}, 5), ({"a": 9, "b": 2}, 2), ({"b": 3}, 2)])
def test_a_class_that_is_too_small_for_the_folds_is_named(counts, count):
    with pytest.raises(
        UserError, match=rf"class 'b' has {counts['b']} images, .* fewer folds than data.fold ./{count}"
    ):
        folds(manifest(counts), count)


def test_images_that_come_with_splits_have_no_folds():
    table = manifest({"a": 30, "b": 30}).assign(split=["train", "validation", "test"] * 20)
    with pytest.raises(UserError, match="come with splits, so there is no fold 1/5: set data.split to random"):
        assigned(table, fold="1/5")


def test_the_error_about_near_duplicates_names_the_parameter():
    table = manifest({"a": 20, "b": 20}).assign(group=[0] * 20 + list(range(1, 21)))
    with pytest.raises(
        UserError,
        match="class 'a' has 20 images, 19 of them near-duplicates of others.* set data.near_duplicates to ignore",
    ):
        assigned(table)


@pytest.mark.parametrize("near_duplicates", ["keep", "drop", "ignore"])
def test_so_do_the_errors_about_given_splits_that_near_duplicates_leave_too_small(near_duplicates):
    table = manifest({"a": 20, "b": 20}).assign(group=[0] * 20 + list(range(1, 21)), split=["train", "test"] * 20)
    table["duplicates"] = table["group"]
    data = params.Data(images="mine", near_duplicates=near_duplicates)
    words = "" if near_duplicates == "ignore" else ".*set data.near_duplicates to ignore."
    with pytest.raises(UserError, match=f"'a' has no images in validation.*same classes.{words}$"):
        assign.to_splits(table, data, 1)
    with pytest.raises(UserError, match=f"none of the images .* anew.{words}$"):
        assign.to_splits(table[table["split"] == "test"], data, 1)


@pytest.mark.parametrize(
    ("counts", "cut"),
    [({"train": 30, "test": 10}, "validation"), ({"train": 30, "validation": 10}, "test"), ({"train": 30}, None)],
)
def test_a_split_that_is_not_given_is_cut_from_train(counts, cut):
    table = manifest({"a": 40, "b": 40}).iloc[[*range(sum(counts.values())), *range(40, 40 + sum(counts.values()))]]
    given = 2 * [name for name, count in counts.items() for _ in range(count)]
    split = assigned(table.reset_index(drop=True).assign(split=given))
    for name in ("validation", "test"):
        assert sum(split == name) == (12 if cut in (name, None) else 20)
        assert (split[np.array(given) == name] == name).all()


@pytest.mark.parametrize("lacking", ["train", "validation", "test"])
def test_a_given_split_that_lacks_a_class_is_named_with_a_way_out_that_keeps_classes(lacking):
    table = manifest({"a": 30, "b": 30})
    given = pd.Series(["train", "validation", "test"] * 20)
    given[(table["class"] == "b") & (given == lacking)] = "test" if lacking != "test" else "train"
    with pytest.raises(UserError, match=f"'b' has no images in {lacking}.*data.split to random.*same classes"):
        assigned(table.assign(split=given))


def test_identical_files_in_two_given_splits_are_an_error_and_near_duplicates_are_not():
    table = manifest({"a": 30, "b": 30}).assign(split=["train", "validation", "test"] * 20)
    table.loc[1, "group"] = 0
    assert (assigned(table) == table["split"]).all()
    table.loc[1, "sha256"] = table.loc[0, "sha256"]
    with pytest.raises(UserError, match="1 identical files .* data.near_duplicates to drop.*: a/0 = a/1$"):
        assigned(table)


def persons(sizes, classes, seed=0):
    """A manifest of persons with so many images each, of random classes."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(sizes)), sizes)
    names = rng.choice(list(classes), len(person))
    table = pd.DataFrame({"path": [f"{k}" for k in range(len(person))], "class": names, "group": person})
    return table.assign(sha256=table["path"], duplicates=range(len(person)), person=person, blank=False)


def off(table, split):
    counts = pd.crosstab(table["class"], split, normalize="index")[["train", "validation", "test"]]
    return np.abs(counts.to_numpy() - [0.6, 0.2, 0.2]).max()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sizes", [[10] * 200, list(range(1, 60)), [300, *[20] * 40], [7] * 15], ids=["equal", "unequal", "one large", "few"]
)
def test_groups_stay_whole_and_classes_are_stratified_as_well_as_by_scikit_learn(sizes, seed):
    table = persons(sizes, "abc", seed)
    split = assigned(table, seed=seed)
    assert (pd.Series(split).groupby(table["person"]).nunique() == 1).all()
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(table, table["class"], table["group"])
    rivals = np.full(len(table), "train", dtype="<U10")
    for name, (_, rows) in zip(("validation", "test"), folds, strict=False):
        rivals[rows] = name
    assert off(table, split) <= max(off(table, rivals), 0.01)


def test_few_groups_give_every_class_to_every_split_where_that_is_possible():
    table = persons([30, 30, 30], "ab")
    assert pd.crosstab(table["class"], assigned(table)).shape == (2, 3)
    with pytest.raises(UserError, match="class 'a' has .* in 2 of your groups.* at least 3 groups"):
        assigned(persons([30, 30], "ab"))


@pytest.mark.parametrize("fold", ["1/2", "3/10"])
def test_a_fold_is_as_large_as_it_is_wanted(fold):
    table = persons([4] * 40, "ab").assign(split="")
    data = params.Data(images="mine", fold=fold, test=0.4)
    size = 1 / int(fold[2:])
    split = pd.Series(assign.to_splits(table, data, seed=1), table.index)
    assert f"test has {size:.1%} of the images ({size:.0%} wanted)" in groups.fractions_off(table, split, data)


def test_of_many_identical_files_a_few_are_named():
    table = manifest({"a": 30, "b": 30}).assign(split=["train", "validation", "test"] * 20)
    table.loc[:19, "sha256"] = "same"
    with pytest.raises(UserError, match="1 identical files .*: a/0 = a/1 = a/2 = a/3 = 16 more$"):
        assigned(table)
