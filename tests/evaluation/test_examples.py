import numpy as np
import pandas as pd
import tensorflow as tf

from stages.common import dataset
from stages.evaluation import examples, gradcam


def table(rows):
    """Predictions from (actual, predicted, probability, margin)."""
    predictions = pd.DataFrame(rows, columns=["actual", "predicted", "probability", "margin"])
    return predictions.assign(path=[f"{number}.png" for number in range(len(rows))])


def test_mistakes_are_the_most_confident_of_each_class_first():
    rows = [
        ("a", "b", 0.6, 0.2),
        ("a", "a", 0.9, 0.8),
        ("a", "b", 0.8, 0.6),
        ("b", "b", 0.7, 0.4),
        ("b", "a", 0.9, 0.8),
    ]
    assert examples.mistakes(table(rows)).tolist() == [2, 0, 4]
    assert examples.mistakes(table(rows[:2] * 10)).tolist() == [0, 2, 4, 6, 8, 10]
    assert examples.mistakes(table([rows[1], rows[3]])).tolist() == []


def test_of_many_classes_those_with_most_mistakes_and_least_margin_are_shown():
    rows = [(f"{c:03}", "x", 0.5, c / 200) for c in range(200) for _ in range(1 + (c % 20 == 7))]
    predictions = table(rows)
    shown = predictions.iloc[examples.mistakes(predictions)]["actual"]
    assert shown.unique().tolist() == [f"{c:03}" for c in range(7, 200, 20)] and len(shown) == 20
    shown = predictions.iloc[examples.uncertain(predictions)]["actual"]
    assert shown.unique().tolist() == [f"{c:03}" for c in range(10)]


def test_uncertain_ones_are_those_with_the_smallest_margin_right_or_wrong():
    rows = [("a", "a", 0.9, 0.8), ("a", "b", 0.6, 0.2), ("b", "b", 0.8, 0.6), ("b", "b", 0.55, 0.1)]
    assert examples.uncertain(table(rows)).tolist() == [1, 0, 3, 2]


def test_certain_predictions_are_none_of_the_least_certain_ones():
    rows = [("a", "a", 0.995, 0.99), ("a", "b", 0.9899, 0.98), ("b", "b", 0.99, 0.98), ("b", "b", 1.0, 1.0)]
    assert examples.uncertain(table(rows)).tolist() == [1]
    assert examples.uncertain(table(rows[2:])).tolist() == []


def test_heat_maps_are_of_wrong_and_of_right_predictions_evenly_over_classes():
    rows = [(c, "c", 0.5, 0) for c in "a" * 60 + "b" * 40 + "c" * 20]
    chosen = table(rows).iloc[examples.for_gradcam(table(rows))]
    wrong, right = chosen[chosen["actual"] != "c"], chosen[chosen["actual"] == "c"]
    assert wrong["actual"].tolist() == ["a"] * 4 + ["b"] * 4 and len(right) == 8
    assert wrong.index.tolist() == [0, 19, 39, 59, 60, 73, 86, 99]  # spread over the images of a class
    assert chosen.index.tolist() == [*wrong.index, *right.index]

    few = table([("a", "a", 0.5, 0)] * 30 + [("b", "a", 0.5, 0)] + [("b", "b", 0.5, 0)] * 2)
    chosen = examples.for_gradcam(few)
    assert chosen[0] == 30 and len(chosen) == 16 and {31, 32} < set(chosen)
    assert examples.for_gradcam(table([("a", "b", 0.5, 0)] * 20)).tolist() == list(np.linspace(0, 19, 16).astype(int))
    assert len(examples.for_gradcam(table([("a", "b", 0.5, 0), ("b", "b", 0.5, 0)]))) == 2
    many = table([(f"{c:03}", f"{c:03}", 0.5, 0) for c in range(200) for _ in range(3)])
    assert many.iloc[examples.for_gradcam(many)]["actual"].nunique() == 16


def test_the_file_has_rows_and_pixels_of_every_sheet_and_the_maps_of_the_predicted_class(tmp_path):
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame({"width": np.arange(30) + 100, "height": np.arange(30) + 200})
    split = dataset.Split(rng.integers(0, 256, (30, 64, 64, 3), np.uint8), manifest, ["a", "b", "c"])
    kernel = tf.constant([[1, -1, 1], [-1, 1, 0], [0, 0, -1]], tf.float32)

    def heat_maps(pixels, labels):
        return gradcam.heat_maps(
            lambda pixels: tf.nn.avg_pool2d(tf.cast(pixels, tf.float32), 32, 32, "VALID"), kernel, pixels, labels
        )

    predictions = table([("abc"[i // 10], "abc"[i % 3], 0.5, i / 30) for i in range(30)])
    for name in ("1.npz", "2.npz"):
        examples.save(tmp_path / name, heat_maps, split, predictions)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with np.load(tmp_path / "1.npz") as file:
        arrays = dict(file)
    for sheet in ("samples", "mistakes", "uncertain", "gradcam"):
        rows = arrays[f"{sheet}_rows"]
        assert np.array_equal(arrays[f"{sheet}_pixels"], split.pixels[rows])
        assert np.array_equal(arrays[f"{sheet}_sizes"], np.stack([rows + 100, rows + 200], axis=1))
    assert len(arrays["samples_rows"]) == 16 and len(arrays["mistakes_rows"]) == 18 and len(arrays) == 13
    labels = arrays["gradcam_rows"] % 3
    assert np.array_equal(arrays["gradcam_maps"], heat_maps(arrays["gradcam_pixels"], labels))

    examples.save(tmp_path / "all right.npz", heat_maps, split, predictions.assign(actual=predictions["predicted"]))
    with np.load(tmp_path / "all right.npz") as file:
        assert file["mistakes_rows"].shape == (0,) and file["mistakes_pixels"].shape == (0, 64, 64, 3)
        assert file["mistakes_sizes"].shape == (0, 2)
