import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.evaluation import slices


def images(count, seed=0, group_size=1, **metadata):
    """Made-up images of random size, brightness and sharpness."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(count)],
            "label": rng.integers(0, 2, count),
            "width": rng.integers(100, 900, count),
            "height": rng.integers(100, 900, count),
            "group": np.arange(count) // group_size,
            "image brightness": rng.uniform(0, 255, count),
            "image sharpness": rng.exponential(100, count),
            **metadata,
        }
    )


def flagged(table):
    return [f"{row.attribute} {row.value}" for row in table[table["flagged"]].itertuples()]


@pytest.mark.parametrize("group_size", [1, 4])
def test_where_predictions_do_not_depend_on_the_slice_none_is_flagged(group_size):
    runs = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        metadata = {"camera": rng.choice(list("abcdefgh"), 400), "hour": rng.integers(0, 24, 400)}
        table = images(400, seed, group_size, **metadata)
        right = np.repeat(rng.random(400 // group_size) < 0.85, group_size)  # of a group all, or none
        if group_size > 1:  # so are its other properties
            table = table.groupby("group").transform("first").assign(group=table["group"])
        runs.append(flagged(slices.score(table, right)))
    assert sum(map(bool, runs)) <= 1, runs


@pytest.mark.parametrize("seed", range(5))
def test_dark_images_of_one_class_that_are_mislabelled_are_flagged(seed):
    table, rng = images(300, seed), np.random.default_rng(seed)
    mislabelled = (table["image brightness"] < 85) & (table["label"] == 1) & (rng.random(300) < 0.8)
    right = (rng.random(300) < 0.95) & ~mislabelled.to_numpy()
    assert flagged(slices.score(table, right)) == ["image brightness dark"]


def test_a_value_of_metadata_is_a_slice_and_its_numbers_are_those_of_its_images():
    camera = np.repeat(["old", "new"], [30, 70])
    right = np.arange(100) >= 20  # 10 of 30, and 70 of 70
    table = slices.score(images(100, camera=camera), right).set_index("value")
    old = table.loc["old"]
    assert (old["attribute"], old["support"], old["range"]) == ("camera", 30, "")
    assert old["accuracy"] == pytest.approx(1 / 3)
    assert old["low"] == pytest.approx(stats.beta.ppf(0.025, 10.5, 20.5))
    exact = stats.fisher_exact([[10, 20], [70, 0]], alternative="less").pvalue
    assert old["p_value"] == pytest.approx(exact * len(table))  # the smallest of them
    assert table.loc["new", "p_value"] == 1


def test_numbers_of_metadata_are_shown_as_they_are_written():
    codes, days = np.array(["7", "007", "1e5", "True"]), np.array(["1", "1.0", "01"])
    table = images(60, code=codes[np.arange(60) % 4], day=days[np.arange(60) % 3], table_group=days[np.arange(60) % 3])
    found = slices.score(table, np.ones(60, bool))
    assert set(found["value"][found["attribute"] == "code"]) == set(codes)
    assert found[found["attribute"] == "day"].set_index("value")["support"].to_dict() == dict.fromkeys(days, 20)
    assert "table_group" not in set(found["attribute"])


def test_copies_of_an_image_are_no_more_evidence_than_one():
    right = np.arange(60) >= 4
    once = slices.score(images(60, camera=np.repeat(["old", "new"], [5, 55])), right).set_index("value").loc["old"]
    copies = np.repeat(np.arange(60), np.where(np.arange(60) < 5, 10, 1))
    table = images(60, camera=np.repeat(["old", "new"], [5, 55])).iloc[copies].reset_index(drop=True)
    many = slices.score(table, right[copies]).set_index("value").loc["old"]
    assert (once["support"], many["support"]) == (5, 50)
    assert many[["accuracy", "low", "high"]].tolist() == pytest.approx(once[["accuracy", "low", "high"]].tolist())


def test_numbers_with_many_values_are_thirds_and_texts_with_many_values_no_slices():
    age = np.arange(90) + 0.5
    table = slices.score(images(90, age=age, name=[f"n{k}" for k in range(90)]), np.ones(90, bool))
    assert set(table["attribute"]) == {"image size", "image brightness", "image sharpness", "age"}
    of_age = table[table["attribute"] == "age"].set_index("value")
    assert of_age["support"].to_dict() == {"low": 30, "medium": 30, "high": 30}
    assert of_age.loc["medium", "range"] == "30.5 to 59.5"


def test_what_has_no_value_is_a_slice_of_its_own():
    camera = np.array(["", "a", "b"])[np.arange(60) % 3]
    age = pd.Series(np.arange(60)).astype(str).where(np.arange(60) % 4 > 0, "")  # as read_csv reads it
    table = slices.score(images(60, camera=camera, age=age), np.ones(60, bool))
    supports = table.set_index(["attribute", "value"])["support"]
    assert supports["camera", "none"] == 20 and supports["age", "none"] == 15 and supports["age", "low"] == 15


def test_slices_of_a_few_images_or_of_all_are_left_out():
    table = images(40, camera=np.repeat(["few", "many"], [4, 36]), place="here")
    found = slices.score(table, np.ones(40, bool))
    assert "few" not in set(found["value"]) and "place" not in set(found["attribute"])
    assert slices.score(images(4), np.ones(4, bool)).empty


def test_brightness_and_sharpness_are_measured():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 32, 3), np.uint8)
    smooth = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, np.newaxis, np.newaxis], (32, 32, 3))
    found = slices.measure(np.stack([noise, smooth, np.full((32, 32, 3), 200, np.uint8)]))
    assert found["image brightness"].tolist() == pytest.approx([noise.mean(), 15.5, 200])
    green = noise[..., 1].astype(float)
    laplacian = sum(np.roll(green, shift, axis) for shift in (1, -1) for axis in (0, 1)) - 4 * green
    assert found["image sharpness"].tolist() == pytest.approx([laplacian[1:-1, 1:-1].var(), 0, 0])
