"""Tables of labels."""

import pytest

from stages.common import params
from stages.common.cli import UserError
from stages.labels import sources
from tests.labels.support import touch


@pytest.fixture
def folder(tmp_path):
    return touch(tmp_path / "mine", "a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")


def find(folder, text, name="labels.csv", encoding="utf-8", **settings):
    path = folder.parent / name
    path.write_text(text, encoding=encoding)
    return sources.find(params.Data(images=str(folder), labels=str(path), **settings)).images


LABELS = ["cat", "dog", "cat", "dog"]
ROWS = "1,cat\n2,dog\n3,cat\n4,dog\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "separator"), [("labels.csv", ","), ("labels.tsv", "\t"), ("excel.csv", ";")])
@pytest.mark.parametrize(
    "paths",
    [
        ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"],
        ["a/1", "a/2", "b/3", "b/4"],
        ["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        ["1", "2", "3", "4"],
        ["./a/1.jpg", "a\\2.jpg", " b/3.jpg ", "b//4.jpg"],
        ["mine/a/1.jpg", "../mine/a/2.jpg", "/home/me/mine/b/3.jpg", "C:\\my data\\mine\\b\\4.jpg"],
        ["A/1.JPG", "a/2.Jpg", "3.JPG", "B/4"],
    ],
)
def test_finds_the_files_of_rows(folder, paths, name, separator, end, encoding):
    rows = [("path", "label"), *zip(paths, LABELS, strict=True)]
    images = find(folder, end.join(separator.join(row) for row in rows), name, encoding)
    assert [image.path for image in images] == ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"]
    assert [image.class_name for image in images] == LABELS and not any(image.problem for image in images)


def test_labels_are_text(folder):
    images = find(folder, "path,label\n1,007\n2,NA\n3,1.0\n4,007\n")
    assert [image.class_name for image in images] == ["007", "NA", "1.0", "007"]


@pytest.mark.parametrize(("path", "label"), [("id", "breed"), ("file_name", "text"), ("label", "path")])
def test_columns_of_other_names_and_further_columns(folder, path, label):
    text = f"{path},{label},age,camera\n1,cat,7,x\n2,dog,8,y\n3,cat,9,x\n4,dog,,y\n"
    images = find(folder, text, columns=params.Columns(path=path, label=label))
    assert [image.class_name for image in images] == LABELS
    assert images[3].columns == {"age": "", "camera": "y"}


def test_splits_and_groups(folder):
    text = "path,label,split,group\n1,cat,Train,x\n2,dog,valid,y\n3,cat,TEST,x\n4,dog,training,\n"
    images = find(folder, text)
    assert [image.split for image in images] == ["train", "validation", "test", "train"]
    assert [image.group for image in images] == ["x", "y", "x", ""]
    assert {image.split for image in find(folder, text, split="random")} == {""}


@pytest.mark.parametrize("names", [("train", "val", "eval"), ("Training", "dev", "evaluation")])
def test_of_two_splits_for_validation_eval_is_the_test_split_as_it_is_of_folders(folder, names):
    train, validation, test = names
    images = find(folder, f"path,label,split\n1,cat,{train}\n2,dog,{validation}\n3,cat,{test}\n4,dog,{train}\n")
    assert [image.split for image in images] == ["train", "validation", "test", "train"]


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ("train val test train", ""),
        ("train val train train", "has no split test: cut from train"),
        ("train train train train", "has no split validation and no test: cut from train"),
    ],
)
def test_a_split_that_the_table_lacks_is_named(folder, splits, words):
    rows = [f"{row},{label},{split}\n" for row, label, split in zip("1234", LABELS, splits.split(), strict=True)]
    folder.with_name("labels.csv").write_text("path,label,split\n" + "".join(rows))
    notes = sources.find(params.Data(images=str(folder), labels=str(folder.with_name("labels.csv")))).notes
    assert words in "".join(notes) and len(notes) == bool(words)


def test_splits_of_folders_count_where_the_table_has_none(tmp_path):
    folder = touch(tmp_path / "mine", "train/1.jpg", "train/2.jpg", "test/3.jpg", "test/4.jpg")
    images = find(folder, "path,label\n1,cat\n2,dog\n3,cat\n4,dog\n")
    assert [(x.path, x.split) for x in images] == [
        ("test/3.jpg", "test"),
        ("test/4.jpg", "test"),
        ("train/1.jpg", "train"),
        ("train/2.jpg", "train"),
    ]


def test_a_test_folder_without_rows_is_not_said_to_be_used(tmp_path):
    folder = touch(tmp_path / "mine", "train/1.jpg", "train/2.jpg", "test/3.jpg")
    (tmp_path / "labels.csv").write_text("path,label\n1,cat\n2,dog\n")
    data = params.Data(images=str(folder), labels=str(tmp_path / "labels.csv"), on_unreadable="skip")
    [note] = sources.find(data).notes
    assert note.endswith(": train is 'train'; validation and test are cut from train; 'test' beside them: left out.")


def test_all_faults_are_named_at_once_or_skipped(folder):
    touch(folder, "b/5.jpg", "b/6.jpg", "b/notes.txt")
    text = "path,label\n1,cat\n2,dog\n3,cat\n3,dog\n4, \ngone.jpg,dog\n5,dog\n"
    with pytest.raises(UserError) as caught:
        find(folder, text)
    for words in (
        "in 4 places",
        "b/3.jpg (has 2 rows, which disagree on the label: 'cat', 'dog'; data.on_label_conflict decides)",
        "b/4.jpg (has an empty label)",
        "gone.jpg (is in the table, but there is no such file)",
        "b/6.jpg (has no row in the table)",
        "data.on_unreadable to skip",
    ):
        assert words in str(caught.value)
    images = find(folder, text, on_unreadable="skip")
    assert [image.path for image in images if not image.problem] == ["a/1.jpg", "a/2.jpg", "b/5.jpg"]
    assert [image.path for image in images if image.problem] == ["b/3.jpg", "b/4.jpg", "b/6.jpg", "gone.jpg"]


def test_labels_of_rows_that_are_skipped_make_no_class(folder):
    images = find(folder, f"path,label\n{ROWS}gone,lynx\n4,lynx\n", on_unreadable="skip")
    assert {image.class_name for image in images} == {"", "cat", "dog"}


@pytest.mark.parametrize(
    "text",
    [
        f"Path,LABEL\n{ROWS}",
        f"\n\n path , label\n{ROWS}\n\n",
        "path;label\n1;cat\n2;dog\n3;cat\n4;dog\n;\n;\n",  # Excel writes empty rows
        "Unnamed: 0,,path,label\n0,0,1,cat\n1,1,2,dog\n2,2,3,cat\n3,3,4,dog\n",  # pandas writes an index
    ],
)
def test_headers_and_rows_as_programs_write_them(folder, text):
    images = find(folder, text)
    assert [image.class_name for image in images] == LABELS and not any(image.columns for image in images)


def test_names_of_columns_that_are_taken_get_a_prefix(folder):
    header = "path,label,class,sha256,age,age,table_age,pixels,pixel_hash"
    image = find(folder, f"{header}\n1,cat,u,v,w,x,y,z,0\n2,dog\n3,cat\n4,dog\n")[0]
    assert image.columns == {
        "table_class": "u", "table_sha256": "v", "age": "w", "table_age": "x", "table_table_age": "y",
        "table_pixels": "z", "table_pixel_hash": "0",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["fold 1", "0", "left"])
def test_with_a_random_split_the_column_of_splits_is_not_read(folder, text):
    table = f"path,label,split\n1,cat,{text}\n2,dog,train\n3,cat,\n4,dog,\n"
    assert {image.split for image in find(folder, table, split="random")} == {""}
    assert {image.split for image in find(folder, table.replace("train", "").replace(text, ""))} == {""}


def test_a_name_that_fits_several_files(folder):
    touch(folder, "b/1.png")
    with pytest.raises(UserError, match=r"1 \(is in the table, and fits several files: a/1.jpg, b/1.png\)"):
        find(folder, "path,label\n1,cat\na/2,dog\n3,cat\n4,dog\n")
    with pytest.raises(UserError, match=r"in 6 places.*: 1 \(is in the table, and fits several files"):
        find(folder, "path,label\n1,cat\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no table in CSV"),
        ('path,label\n"1,cat\n', "is no table in CSV"),
        ("path,label\n1,cat,small\n2,dog\n", "Expected 2 fields in line 2, saw 3. Save it as one.*quotes"),
        ("path,label\n1,cat\n2,dog\n3,cat, small\n", "is no table in CSV"),
        ("path,label\n", "has no rows"),
        (",\n,\n", "has no rows"),
        (f"label,path,label\n{ROWS}", "2 columns 'label'"),
        (f"Path,PATH,label\n{ROWS}", "2 columns 'path'"),
        (f"path,label,group, group\n{ROWS}", "2 columns 'group'"),
        ("1,cat\n2,dog\n3,cat\n4,dog\n", r"has no header: its first line is 1, cat. .*such as \[path,label\]"),
        ("path,cat,dog\n1,1,2\n2,0,1\n", "no column 'label', but path, cat, dog: .*labels are names in one column"),
        ("id,breed\n1,cat\n", "has no column 'path', but id, breed: set data.columns.path"),
        ("path,breed\n1,cat\n", "no column 'label'.*set data.columns.label"),
        ("path,label\nx,cat\ny,dog\n", "no row fits a file of .*names 'x', the first file is 'a/1.jpg'"),
        ("path,label,split\n1,cat,fold 3\n", "'fold 3' in the column 'split' is no split"),
        ("path,label\n1,cat\n2,cat\n3,cat\n4,cat\n", "at least two classes, but has only 'cat'"),
    ],
)
def test_tables_that_do_not_fit(folder, text, words):
    with pytest.raises(UserError, match=words) as caught:
        find(folder, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "cp1252"])
def test_a_table_in_another_encoding_is_named(folder, encoding):
    with pytest.raises(UserError, match="labels.csv is no table in CSV, TSV or JSON in UTF-8.*Save it as one"):
        find(folder, "path,label\n1,caf\u00e9\n2,dog\n3,dog\n4,dog\n", encoding=encoding)


def test_a_missing_table_and_a_missing_column_of_the_users_choice_are_named(folder):
    with pytest.raises(UserError, match=r"nowhere.csv: No such file.*Set data.labels"):
        sources.find(params.Data(images=str(folder), labels="nowhere.csv"))
    with pytest.raises(UserError, match=r"no column 'signer'.*data.columns.group"):
        find(folder, "path,label\n1,cat\n2,dog\n3,cat\n4,dog\n", columns=params.Columns(group="signer"))


@pytest.mark.parametrize("name", ["metadata.csv", "labels", "a/labels.dat"])
def test_a_table_in_the_folder_of_images_is_no_image(folder, name):
    path = folder / name
    path.write_text("path,label\n1,cat\n2,dog\n3,cat\n4,dog\n")
    images = sources.find(params.Data(images=str(folder), labels=str(path))).images
    assert len(images) == 4


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": "path"}, "columns.path and data.columns.label are both the column 'path'"),
        ({"label": "group"}, "columns.label and data.columns.group are both the column 'group'.*can be ''"),
        ({"path": "split"}, "columns.path and data.columns.split are both the column 'split'"),
    ],
)
def test_one_column_cannot_be_two_things(folder, columns, words):
    with pytest.raises(UserError, match=words):
        find(folder, "path,label,group,split\n1,cat,a,train\n", columns=params.Columns(**columns))


def test_several_columns_make_a_path(tmp_path):
    folder = touch(tmp_path / "mine", "S1/A/1.jpg", "S1/B/1.jpg", "S2/A/1.jpg", "2.jpg")
    text = "File,RelativePath,label\n1.jpg,S1\\A,cat\n1.jpg,S1\\B,dog\n1.jpg,S2\\A,cat\n2.jpg,,dog\n"
    images = find(folder, text, columns=params.Columns(path="RelativePath/File"))
    assert {image.path: image.class_name for image in images} == {
        "S1/A/1.jpg": "cat",
        "S1/B/1.jpg": "dog",
        "S2/A/1.jpg": "cat",
        "2.jpg": "dog",
    }
    with pytest.raises(
        UserError, match="no column 'Folder/File', but File, RelativePath, label: set data.columns.path"
    ):
        find(folder, text, columns=params.Columns(path="Folder/File"))


@pytest.mark.parametrize(
    ("columns", "numbers", "label"),
    [
        ("cat,dog", ["1,0", "0,1"], "label"),
        ("cat,dog,UNK", ["1.0,0.0,0.0", "0.0,1.0,0.0"], "label"),
        (" cat, dog", ["True,False", "False,True"], "cat/dog"),
        ("cat,dog,old", ["1,0,1", "0,1,1"], "cat/dog"),
    ],
)
def test_one_column_per_class(folder, columns, numbers, label):
    one, other = numbers
    text = f"path,{columns}\n1,{one}\n2,{other}\n3,{one}\n4,{other}\n"
    images = find(folder, text, columns=params.Columns(label=label))
    assert [image.class_name for image in images] == LABELS


def test_one_column_per_class_with_several_or_no_class_in_a_row(folder):
    with pytest.raises(
        UserError, match=r"1 row has a 1 in several of the columns cat, dog, such as 3: one class per image"
    ):
        find(folder, "path,cat,dog\n1,1,0\n2,0,1\n3,1,1\n4,0,1\n")
    with pytest.raises(UserError, match=r"in 1 places.*b/3.jpg \(has an empty label\)"):
        find(folder, "path,cat,dog\n1,1,0\n2,0,1\n3,0,0\n4,0,1\n")


def test_a_column_of_one_class_that_is_taken_for_the_labels(folder):
    path = folder.parent / "labels.csv"
    path.write_text("path,cat,dog,cow\n1,1,0,0\n2,0,1,0\n3,1,0,0\n4,0,0,1\n")
    [note] = sources.find(params.Data(images=str(folder), labels=str(path), columns=params.Columns(label="cat"))).notes
    assert note.startswith("WARNING: the classes are the values of the column 'cat'") and "to cat/dog/cow" in note


@pytest.mark.parametrize("cell", ['["cat","dog"]', '{"choices":["cat","dog"]}', '["dog", "cat", "cow"]'])
def test_a_cell_with_several_labels(folder, cell):
    quoted = cell.replace('"', '""')
    with pytest.raises(UserError, match=r"b/3.jpg \(has the labels .*: one class per image; several labels are not"):
        find(folder, f'path,label\n1,cat\n2,dog\n3,"{quoted}"\n4,dog\n')


@pytest.mark.parametrize("cell", ["[" * 5000, "[" + "9" * 5000 + "]", "[NaN, 1e999]", '{"a": [1, 2'])
def test_odd_cells_end_in_one_line_or_a_label(folder, cell):
    quoted = cell.replace('"', '""')
    try:
        assert len(find(folder, f'path,label\n1,cat\n2,dog\n3,"{quoted}"\n4,dog\n')) == 4
    except UserError:
        pass


@pytest.mark.parametrize("cell", ['["cat"]', '{"choices":["cat"]}', '[["cat"]]'])
def test_a_list_of_one_label(folder, cell):
    quoted = cell.replace('"', '""')
    assert [x.class_name for x in find(folder, f'path,label\n1,cat\n2,dog\n3,"{quoted}"\n4,dog\n')] == LABELS


def test_rows_that_agree_count_once(folder):
    text = "path,label,age\n1,cat,old\n1,cat,young\n2,dog,old\n3,cat,\n4,dog,\n4,dog,\n"
    images = find(folder, text)
    assert [image.class_name for image in images] == LABELS
    assert [image.columns["age"] for image in images] == ["old + young", "old", "", ""]


@pytest.mark.parametrize(
    ("decision", "labels"), [("drop", {"1": "cat", "2": "dog"}), ("majority", {"1": "cat", "2": "dog", "3": "cat"})]
)
def test_rows_that_disagree_on_the_label(folder, decision, labels):
    text = "path,label\n1,cat\n2,dog\n3,cat\n3,cat\n3,dog\n4,dog\n4,cat\n"
    with pytest.raises(UserError, match="b/3.jpg .has 3 rows, which disagree on the label: 'cat', 'cat', 'dog'"):
        find(folder, text)
    path = folder.parent / "labels.csv"
    found = sources.find(params.Data(images=str(folder), labels=str(path), on_label_conflict=decision))
    assert {x.path.split("/")[1].split(".")[0]: x.class_name for x in found.images} == labels
    left = "2 images whose rows disagree" if decision == "drop" else "1 image whose rows disagree"
    assert any(left in note for note in found.notes)


@pytest.mark.parametrize("column", ["split", "group"])
def test_rows_that_disagree_on_split_or_group(folder, column):
    text = f"path,label,{column}\n1,cat,train\n1,cat,test\n2,dog,train\n3,cat,test\n4,dog,train\n"
    with pytest.raises(UserError, match=f"a/1.jpg .has 2 rows, which disagree on the {column}: 'train', 'test'"):
        find(folder, text, on_label_conflict="majority")


def test_masks_and_texts_beside_images_need_no_row(folder):
    touch(folder, "a/1_mask.png", "a/1.json", "b/3.txt")
    assert [image.class_name for image in find(folder, f"path,label\n{ROWS}")] == LABELS


def test_a_class_of_which_no_row_fits_a_file_is_named(folder):
    path = folder.parent / "labels.csv"
    path.write_text(f"path,label\n{ROWS}gone,lynx\n")
    notes = sources.find(params.Data(images=str(folder), labels=str(path), on_unreadable="skip")).notes
    assert notes == ["WARNING: no image of 'lynx' is used."]


def test_a_table_of_images_beside_their_masks(tmp_path):
    folder = touch(tmp_path / "mine", *(f"{x}/{y}.jpg" for x in ("images", "masks") for y in (1, 2, 3, 4)))
    assert [x.path for x in find(folder, f"path,label\n{ROWS}")] == [f"images/{y}.jpg" for y in (1, 2, 3, 4)]
    both = find(folder, "path,label\nimages/1,cat\nmasks/1,mask\nimages/2,cat\nimages/3,cat\nimages/4,cat\n")
    assert [x.path for x in both if x.class_name == "mask"] == ["masks/1.jpg"]


def test_a_table_with_a_column_of_labels_and_flags_needs_its_name(folder):
    with pytest.raises(UserError, match="set data.columns.label to 'species'"):
        find(folder, "path,species,night,day\n1,cat,0,1\n2,dog,1,0\n3,cat,0,1\n4,dog,1,0\n")


@pytest.mark.parametrize("cell", ["['cat', 'dog']", "[1 0]"])
def test_lists_as_python_and_numpy_write_them(folder, cell):
    with pytest.raises(UserError, match="one class per image; several labels are not supported"):
        find(folder, f'path,label\n1,cat\n2,dog\n3,"{cell}"\n4,dog\n')


def test_a_row_without_a_label_does_not_disagree(folder):
    assert [x.class_name for x in find(folder, f"path,label\n{ROWS}3,\n")] == LABELS


def test_splits_that_vertex_ai_has_not_assigned(folder):
    images = find(folder, "path,label,split\n1,cat,UNASSIGNED\n2,dog,unassigned\n3,cat,UNASSIGNED\n4,dog,\n")
    assert {image.split for image in images} == {""} and [image.class_name for image in images] == LABELS
