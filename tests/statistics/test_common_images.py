import pandas as pd
import pytest

from stages.statistics import common_images


def images(*files):
    """A row per text such as "cat/1.png 0a": path and sha256."""
    table = pd.DataFrame([text.split() for text in files], columns=["path", "sha256"])
    return table.assign(row=range(len(table)))


@pytest.mark.parametrize(
    ("a", "b", "rows"),
    [
        (["x 1", "y 2", "z 3"], ["z 3", "x 1"], [(2, 0), (0, 1)]),  # in whatever order
        (["cat/x 1", "y 2"], ["dog/x 1", "y 2"], [(0, 0), (1, 1)]),  # moved
        (["x 1", "y 2"], ["x 2", "y 1"], [(1, 0), (0, 1)]),  # names that were exchanged
        (["x 1"], ["x 2"], []),  # another image of that name
        (["x 1", "y 1", "z 1"], ["z 1", "new 1"], [(2, 0), (0, 1)]),  # several copies: the same path first
        ([], ["x 1"], []),
    ],
)
def test_images_are_matched_by_content_and_by_path_where_there_are_copies(a, b, rows):
    both = common_images.merge(images(*a), images(*b))
    assert list(zip(both["row_a"], both["row_b"], strict=True)) == rows
    assert {"path_a", "path_b"} <= {*both}


def test_columns_that_only_one_table_has_keep_their_name():
    both = common_images.merge(images("x 1"), images("x 1").assign(label=3), ("_before", ""))
    assert both[["path_before", "path", "label"]].values.tolist() == [["x", "x", 3]]
