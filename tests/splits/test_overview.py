import numpy as np
import pandas as pd

from stages.splits import overview


def test_the_overview_has_up_to_eight_images_of_each_class_and_split_with_the_sizes_of_their_files(tmp_path):
    labels = np.repeat([0, 1], [20, 3])
    split = np.where(np.arange(23) < 10, "train", "test")
    manifest = pd.DataFrame({"label": labels, "width": np.arange(23) + 1, "height": np.arange(23) + 100})
    manifest.index = manifest.index[::-1] + 5  # rows of `pixels`
    pixels = np.repeat(np.arange(30, dtype=np.uint8), 4 * 4 * 3).reshape(30, 4, 4, 3)
    for name in ("1", "2"):
        overview.save(tmp_path / name, manifest, split, pixels)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    with np.load(tmp_path / "1") as file:
        arrays = dict(file)
    assert arrays["sizes"].tolist() == manifest[["width", "height"]].values.tolist()
    assert arrays["labels"].tolist() == labels.tolist()
    counts = {name: (arrays[f"{name}_sizes"] > 0).all(axis=2).sum(axis=1).tolist() for name in ("train", "test")}
    assert counts == {"train": [8, 0], "test": [8, 3]} and not arrays["validation_sizes"].any()
    assert arrays["test_sizes"][1, :3].tolist() == [[21, 120], [22, 121], [23, 122]]
    assert arrays["test"].shape == (2, 8, 64, 64, 3)
    assert [arrays["test"][1, place].max() for place in range(3)] == manifest.index[-3:].tolist()
