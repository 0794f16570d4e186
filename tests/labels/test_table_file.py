"""Files of tables."""

import json

import pytest

from stages.common.cli import UserError
from stages.labels import table_file


def read(folder, name, text, names=()):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return table_file.read(path, names).to_numpy().tolist()


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


CAT, DOG = ["1.jpg", "cat"], ["2.jpg", "dog"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", lines({"path": "1.jpg", "label": "cat"}, {"path": "2.jpg", "label": "dog"})),
        ("labels.ndjson", "\n" + lines({"path": "1.jpg", "label": "cat"}, {"label": "dog", "path": "2.jpg"}) + "\n"),
        ("labels.json", json.dumps([{"path": "1.jpg", "label": "cat"}, {"path": "2.jpg", "label": "dog"}], indent=2)),
        ("samples.json", json.dumps({"name": "x", "samples": [{"path": p, "label": x} for p, x in (CAT, DOG)]})),
        ("labels.json", json.dumps({"classes": ["cat", "dog"], "labels": {"1.jpg": 0, "2.jpg": 1}})),  # FiftyOne
        ("labels.json", json.dumps({"classes": None, "labels": {"1.jpg": "cat", "2.jpg": "dog"}})),
        (
            "labels.json",
            json.dumps({"labels": {"1.jpg": {"label": "cat", "confidence": 0.9}, "2.jpg": {"label": "dog"}}}),
        ),
        ("map.json", json.dumps({"1.jpg": "cat", "2.jpg": "dog"})),
        ("labels.json", json.dumps({"classes": 2, "labels": {"1.jpg": "cat", "2.jpg": "dog"}})),
        ("list.txt", "path label\n1.jpg cat\n2.jpg   dog\n"),
    ],
)
def test_tables_of_all_kinds(tmp_path, name, text):
    assert read(tmp_path, name, text) == [["path", "label"], CAT, DOG]


@pytest.mark.parametrize(
    ("record", "names", "cells"),
    [
        (
            {"imageGcsUri": "gs://b/1.jpg", "classificationAnnotation": {"displayName": "cat"}},  # Vertex AI
            ["imageGcsUri", "classificationAnnotation.displayName"],
            ["gs://b/1.jpg", "cat"],
        ),
        (
            {
                "source-ref": "s3://b/1.jpg",
                "y": 0,
                "y-metadata": {"class-name": "cat", "confidence": 0.9},
            },  # Ground Truth
            ["source-ref", "y", "y-metadata.class-name", "y-metadata.confidence"],
            ["s3://b/1.jpg", "0", "cat", "0.9"],
        ),
        (
            {
                "data": {"image": "1.jpg"},
                "annotations": [{"result": [{"value": {"choices": ["cat"]}}]}],
            },  # Label Studio
            ["data.image", "annotations.result.value.choices"],
            ["1.jpg", "cat"],
        ),
        (
            {"data": {"image": "1.jpg"}, "annotations": [{"was_cancelled": True, "result": [{"value": 1}]}, {"id": 7}]},
            ["data.image", "annotations.id"],
            ["1.jpg", "7"],
        ),
        (
            {"a": None, "b": True, "c": [], "d": {}, "e": ["x", "x"], "f": [1, 2]},
            ["a", "b", "e", "f"],
            ["", "true", "x", '["1", "2"]'],
        ),
    ],
)
def test_nested_keys_have_dotted_names(tmp_path, record, names, cells):
    assert read(tmp_path, "x.jsonl", lines(record, record | {"more": 1})) == [
        [*names, "more"],
        [*cells, ""],
        [*cells, "1"],
    ]


def test_a_key_that_is_a_text_in_one_record_and_an_object_in_another(tmp_path):
    records = {"path": "1", "choice": "cat"}, {"path": "2", "choice": {"choices": ["cat", "dog"]}}, {"path": "3"}
    cells = read(tmp_path, "x.json", json.dumps(records))
    assert cells == [["path", "choice"], ["1", "cat"], ["2", '{"choices": ["cat", "dog"]}'], ["3", ""]]
    cells = read(
        tmp_path, "x.json", json.dumps([{"path": "1", "truth": {"label": "cat"}}, {"path": "2", "truth": None}])
    )
    assert cells == [["path", "truth.label", "truth"], ["1", "cat", ""], ["2", "", ""]]


@pytest.mark.parametrize("text", ["TRAIN,1.jpg,cat\nTEST,2.jpg,dog\n", "TRAIN 1.jpg cat\nTEST 2.jpg dog\n"])
def test_names_for_the_columns_of_a_table_without_a_header(tmp_path, text):
    cells = read(tmp_path, "x.csv", text, ["split", "path", "label"])
    assert cells == [["split", "path", "label"], ["TRAIN", "1.jpg", "cat"], ["TEST", "2.jpg", "dog"]]
    with pytest.raises(
        UserError,
        match=r"data.columns.names has 2 names, but .*x.csv has 3 columns: its first line is TRAIN, 1.jpg, cat",
    ):
        read(tmp_path, "x.csv", text, ["path", "label"])


def test_rows_that_end_early(tmp_path):
    assert read(tmp_path, "list.txt", "1.jpg cat\n2.jpg \n", ["path", "label"])[2] == ["2.jpg", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"images": [{"id": 1}], "annotations": [{"id": 2}], "categories": [{"id": 3}]}',
            "of images, annotations, categor",
        ),
        ('{"a": {"b": 1}}', "no list of objects with a file and a label each, but of a"),
        ("[1, 2]", "no list of objects with a file and a label each"),
        ('{"path": "1.jpg"\n', "Expecting"),
        ("[" * 5000, "recursion depth"),
        ('[{"path": ' + "9" * 5000 + "}]", "4300 digits"),
        ('{"labels": {"1.jpg": 0}', "Expecting"),
        ("[]", "no list of objects.* Make a table of it with a row per image"),
    ],
)
def test_json_that_is_no_table(tmp_path, text, words):
    with pytest.raises(UserError, match=f"is no table in CSV, TSV or JSON in UTF-8: .*{words}"):
        read(tmp_path, "x.json", text)
