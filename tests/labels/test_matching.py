"""Paths that tables name, and files."""

import pytest

from stages.labels.matching import FileIndex

PATHS = ["a/1.jpg", "a/2.jpg", "b/2.jpg", "3.jpg", "b/caf\u00e9 4.jpg", "x/b/5.jpg"]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("/data/upload/1/1.jpg", ["a/1.jpg"]),
        ("s3://bucket/inbox/1.jpg", ["a/1.jpg"]),
        ("gs://bucket/a/2.jpg", ["a/2.jpg"]),
        ("/data/local-files/?d=shots/1.jpg", ["a/1.jpg"]),
        ("/data/local-files/?d=shots%2Fb%2Fcaf%C3%A9%204.jpg", ["b/caf\u00e9 4.jpg"]),
        ("https://host/x/1.jpg?X-Signature=ab/cd&n=2", ["a/1.jpg"]),
        ("https://host/x/caf%C3%A9%204.jpg", ["b/caf\u00e9 4.jpg"]),
        ("C:\\pics\\b\\2.jpg", ["b/2.jpg"]),
        ("elsewhere/1", ["a/1.jpg"]),
        ("ELSEWHERE/1.JPG", ["a/1.jpg"]),
        ("../mine/3.jpg", ["3.jpg"]),
        ("other/b/5.jpg", ["x/b/5.jpg"]),
        ("https://host/9.jpg?n=2&m=1", []),
        ("y/2.jpg", ["a/2.jpg", "b/2.jpg"]),  # fits several
        ("2.jpg", ["a/2.jpg", "b/2.jpg"]),
        ("b/5.jpg", ["x/b/5.jpg"]),
        ("b/1.jpg", []),  # b is here, and has no such file
        ("/home/me/mine/b/1.jpg", []),
        ("b/3.jpg", []),
        ("9.jpg", []),
        ("", []),
    ],
)
def test_a_row_fits_the_file_that_its_last_parts_name(row, found):
    places, _ = FileIndex(PATHS, "/home/me/mine").find(row)
    assert [PATHS[place] for place in places] == found
