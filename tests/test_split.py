import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import split
from stages.common import dataset, files, params, terminal
from stages.common.arrays import ArrayFile
from stages.common.cli import UserError
from stages.decoding.decode import decode
from stages.labels import corrections
from stages.labels.corrections import Correction
from stages.splits import pack
from tests.support import make_images


def test_writes_pixels_manifests_classes_and_counts(workplace):
    folder = make_images(workplace.folder / "mine", {"cat": 10, "not cat": 15})
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    paths = []
    for name, counts in {"train": (6, 9), "validation": (2, 3), "test": (2, 3)}.items():
        part = dataset.load(name)
        assert part.classes == ["cat", "not cat"]
        assert part.pixels.shape == (sum(counts), 32, 32, 3) and part.pixels[0].dtype == np.uint8
        assert isinstance(part.pixels, ArrayFile)
        assert np.bincount(part.labels).tolist() == list(counts)
        columns = ["path", "class", "label", "sha256", "width", "height", "group", "duplicates"]
        assert list(part.manifest.columns) == columns
        for pixels, row in zip(part.pixels, part.manifest.itertuples(), strict=True):
            sha256, shape, decoded = decode(folder / row.path, 32)
            assert (row.sha256, row.width, row.height) == (sha256, *shape) and (pixels == decoded).all()
        paths += list(part.manifest["path"])
    assert sorted(paths) == sorted(x.relative_to(folder).as_posix() for x in folder.glob("*/*"))
    assert json.loads((workplace.folder / "data/splits/summary.json").read_text())["test"] == {"cat": 2, "not cat": 3}


def test_skipped_images_are_listed_and_counted_and_the_others_keep_their_pixels(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 6, "b": 6})
    for name in ("a/0.png", "a/003.png", "b/005.png"):
        (folder / name).write_text("no image")
    workplace.set({"data.images": "mine", "image_size": 32, "data.on_unreadable": "skip"})
    split.main()
    parts = [dataset.load(name) for name in split.SPLITS]
    for part in parts:
        for pixels, path in zip(part.pixels, part.manifest["path"], strict=True):
            assert (pixels == decode(folder / path, 32)[2]).all()
    assert sum(len(part.labels) for part in parts) == 10
    assert list(pd.read_csv("data/splits/unreadable.csv")["path"]) == ["a/0.png", "a/003.png", "b/005.png"]
    metrics = json.loads((workplace.folder / "data/splits/summary.json").read_text())
    assert metrics["unreadable"] == 3
    assert {name: sum(row[name] for row in list(metrics.values())[:3]) for name in "ab"} == {"a": 5, "b": 5}


def test_a_class_that_skipping_empties_or_makes_too_small(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 5, "b": 3})
    workplace.set({"data.images": "mine", "data.on_unreadable": "skip"})
    (folder / "b/000.png").write_text("no image")
    with pytest.raises(UserError, match="class 'b' has 2 images"):
        split.main()
    for path in folder.glob("b/*"):
        path.write_text("no image")
    with pytest.raises(UserError, match="mine: no image of class 'b' can be read"):
        split.main()
    assert not (workplace.folder / "data/splits/unreadable.csv").exists()


def test_paths_of_any_bytes_come_back_from_the_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = ["a/new\nline", "a/return\r", "a/q\"u'ote", "a/,", "a/\U0001f999", "NA", " a ", "a/caf\udce9", "a/\x01\\"]
    numbers = dict.fromkeys(("label", "width", "height", "group", "duplicates"), 0)
    table = pd.DataFrame({"path": paths, "class": "a", "sha256": "0"} | numbers)
    (tmp_path / "data/splits").mkdir(parents=True)
    (tmp_path / dataset.CLASSES).write_text('["a"]')
    dataset.create(tmp_path / "data/splits/test", np.zeros((len(paths), 2, 2, 3), np.uint8), range(len(paths)), table)
    assert list(dataset.load("test").manifest["path"]) == paths
    assert b"caf\xe9" in (tmp_path / "data/splits/test/manifest.csv").read_bytes()
    files.write_csv(table, Path("shown.csv"), errors="backslashreplace")
    assert list(pd.read_csv("shown.csv", keep_default_na=False)["path"]) == [
        path.replace("\udce9", "\\udce9") for path in paths
    ]


def test_decodes_every_image_once(workplace, monkeypatch):
    make_images(workplace.folder / "mine", {"a": 5, "b": 5})
    workplace.set({"data.images": "mine"})
    decoded = []

    def record(path, *arguments):
        decoded.append(path)
        return decode(path, *arguments)

    monkeypatch.setattr(pack, "decode", record)
    split.main()
    assert len(decoded) == len(set(decoded)) == 10


def test_a_copy_of_the_folder_under_another_name_gives_the_same_bytes(workplace):
    make_images(workplace.folder / "mine", {"a": 8, "b": 8})
    outputs = []
    for name in ("mine", "copy"):
        if name == "copy":
            for path in sorted((workplace.folder / "mine").glob("*/*"), reverse=True):
                target = workplace.folder / "copy" / path.relative_to(workplace.folder / "mine")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        workplace.set({"data.images": name})
        split.main()
        written = [x for x in (workplace.folder / "data/splits").rglob("*") if x.is_file()]
        outputs.append({x.relative_to(workplace.folder): x.read_bytes() for x in written})
    assert outputs[0] == outputs[1]


def test_all_unreadable_images_are_named_and_nothing_is_written(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 5, "b": 5})
    (folder / "a/broken.png").write_text("no image")
    (folder / "b/empty.png").touch()
    workplace.set({"data.images": "mine"})
    with pytest.raises(UserError, match=r"2 of 12 .*a/broken.png \(not an image.*\), .*b/empty.png \(an empty file: "):
        split.main()
    assert [x for x in workplace.folder.glob("data/**/*") if x.is_file()] == []
    assert not (workplace.folder / "data/splits/summary.json").exists()


def replace_image(path):
    """Writes other bytes of the same number into an image, and gives it the time that it had."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


MOVED = "mine/b/000.png, mine/b/001.png, mine/b/002.png, and 7 more vanished; mine/c/000.png, "
CHANGES = {
    "removed": (lambda folder: (folder / "mine/a/005.png").unlink(), "mine/a/005.png vanished while"),
    "new": (lambda folder: shutil.copy(folder / "mine/a/005.png", folder / "mine/b/a.png"), "mine/b/a.png appeared"),
    "renamed": (lambda folder: (folder / "mine/b").rename(folder / "mine/c"), MOVED),
    "gone": (lambda folder: (folder / "mine").rename(folder / "ours"), "mine/a/000.png, mine/a/001.png, .* vanished"),
    "table": (lambda folder: (folder / "mine/notes.csv").write_text("new"), "mine/notes.csv changed while"),
    "labels": (lambda folder: (folder / "labels.csv").write_text("path,label\n"), "labels.csv changed while"),
}


@pytest.mark.parametrize("moment", [(pack, "pack_images"), (split.overview, "save")])
@pytest.mark.parametrize("what", CHANGES)
def test_files_that_change_while_they_are_read_are_named_and_nothing_is_written(workplace, monkeypatch, what, moment):
    images = make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    (images / "notes.csv").write_text("a note")
    paths = [str(path.relative_to(images)) for path in images.glob("*/*.png")]
    pd.DataFrame({"path": paths, "label": [path[0] for path in paths]}).to_csv("labels.csv", index=False)
    workplace.set({"data.images": "mine", "data.labels": "labels.csv", "image_size": 32})
    module, name = moment
    change, named = CHANGES[what]
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *arguments: (change(workplace.folder), original(*arguments))[1])
    with pytest.raises(UserError, match=f"^{named}"):
        split.main()
    assert list((workplace.folder / "data/splits").iterdir()) == []


def test_an_image_that_changes_is_named_unless_its_new_bytes_are_those_that_were_packed(workplace, monkeypatch):
    images = make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    workplace.set({"data.images": "mine", "image_size": 32})
    pack_images = pack.pack_images
    monkeypatch.setattr(pack, "pack_images", lambda *x: (replace_image(images / "b/001.png"), pack_images(*x))[1])
    split.main()
    manifest = pd.concat(dataset.load(name).manifest for name in split.SPLITS).set_index("path")
    assert manifest["sha256"]["b/001.png"] == hashlib.sha256((images / "b/001.png").read_bytes()).hexdigest()
    before = {path: path.read_bytes() for path in Path("data/splits").rglob("*") if path.is_file()}
    others = make_images(workplace.folder / "other", {"a": 10, "b": 10})
    workplace.set({"data.images": "other"})
    monkeypatch.setattr(pack, "pack_images", lambda *x: (pack_images(*x), replace_image(others / "b/001.png"))[0])
    with pytest.raises(UserError, match="^other/b/001.png changed while"):
        split.main()
    assert before == {path: path.read_bytes() for path in Path("data/splits").rglob("*") if path.is_file()}


def test_an_image_that_changes_while_outputs_are_moved_ends_the_stage(workplace, monkeypatch):
    images = make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    workplace.set({"data.images": "mine", "image_size": 32})
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (replace_image(images / "a/001.png"), replace(*paths)))
    with pytest.raises(UserError, match="^mine/a/001.png changed while"):
        split.main()


def test_parameters_that_change_while_images_are_read_are_named_and_nothing_is_written(workplace, monkeypatch):
    make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    workplace.set({"data.images": "mine", "image_size": 32})
    pack_images = pack.pack_images
    monkeypatch.setattr(pack, "pack_images", lambda *x: (workplace.set({"data.test": 0.3}), pack_images(*x))[1])
    with pytest.raises(UserError, match="data.test was 0.2 and is 0.3"):
        split.main()
    assert list((workplace.folder / "data/splits").iterdir()) == []


def test_what_does_not_matter_may_change_while_images_are_read(workplace, monkeypatch):
    images = make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    workplace.set({"data.images": "mine", "image_size": 32})
    original = split.overview.save

    def save(*arguments):
        original(*arguments)
        for path in images.glob("a/*.png"):
            path.touch()
        for name in ("Thumbs.db", ".DS_Store", "b/~$notes.docx"):
            (images / name).touch()

    monkeypatch.setattr(split.overview, "save", save)
    split.main()
    assert len(dataset.load("train").labels) == 12


def test_an_unreadable_name_cannot_write_to_the_terminal(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 5, "b": 5})
    (folder / "a/red\x1b[31m\n.png").touch()
    workplace.set({"data.images": "mine"})
    with pytest.raises(UserError, match=r"'mine/a/red\\x1b\[31m\\n.png' \(an empty file: "):
        split.main()


def test_identical_images_in_two_classes_stop_the_stage_or_are_dropped(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 6, "b": 6})
    Image.open(folder / "a/000.png").save(folder / "b/same pixels.bmp")
    shutil.copy(folder / "a/001.png", folder / "a/twice in one class.png")
    workplace.set({"data.images": "mine"})
    with pytest.raises(UserError, match="1 images are in more than one class.*: a/000.png = b/same pixels.bmp$"):
        split.main()
    workplace.set({"data.on_label_conflict": "drop"})
    split.main()
    paths = [path for name in split.SPLITS for path in dataset.load(name).manifest["path"]]
    assert sorted(paths) == sorted(
        [f"a/00{i}.png" for i in range(1, 6)] + [f"b/00{i}.png" for i in range(6)] + ["a/twice in one class.png"]
    )
    assert json.loads((workplace.folder / "data/splits/summary.json").read_text())["dropped"] == 2


def test_of_identical_images_in_two_classes_the_majority_decides(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 6, "b": 6})
    for name in ("a/twice.png", "b/copy of a.png"):
        shutil.copy(folder / "a/000.png", folder / name)
    shutil.copy(folder / "a/001.png", folder / "b/tie.png")
    workplace.set({"data.images": "mine", "data.on_label_conflict": "majority"})
    split.main()
    paths = {path for name in split.SPLITS for path in dataset.load(name).manifest["path"]}
    dropped = {path.relative_to(folder).as_posix() for path in folder.glob("*/*")} - paths
    assert dropped == {"b/copy of a.png", "a/001.png", "b/tie.png"}


def test_near_duplicates_lie_in_one_split(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12}, size=200)
    for path in folder.glob("a/*"):
        Image.open(path).resize((100, 100)).save(path.with_suffix(".small.jpg"), quality=60)
    workplace.set({"data.images": "mine"})
    split.main()
    assert "36 images of mine; 12 are near-duplicates of others\n" in capsys.readouterr().out
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    table["original"] = table["path"].str.split(".").str[0]
    assert (table.groupby("original")[["split", "group"]].nunique() == 1).all(axis=None)
    assert table["group"].nunique() == 24


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_a_folder_that_comes_split_stays_so(workplace, validation):
    for name, count in {"train": 5, validation: 2, "test": 3}.items():
        make_images(workplace.folder / "mine" / name, {"a": count, "b": count}, seed=count)
    workplace.set({"data.images": "mine"})
    split.main()
    for name, count in {"train": 5, "validation": 2, "test": 3}.items():
        part = dataset.load(name)
        assert part.classes == ["a", "b"] and np.bincount(part.labels).tolist() == [count, count]
        assert {path.split("/")[0] for path in part.manifest["path"]} == {validation if name == "validation" else name}
    workplace.set({"data.split": "random"})
    split.main()
    assert dataset.load("train").classes == ["a", "b"]
    assert sum(len(dataset.load(name).labels) for name in split.SPLITS) == 20


def test_near_duplicates_across_given_splits_are_listed_identical_files_are_an_error(workplace, capsys):
    for name, count in {"train": 5, "val": 2, "test": 3}.items():
        make_images(workplace.folder / "mine" / name, {"a": count, "b": count}, size=200, seed=count)
    workplace.set({"data.images": "mine"})
    Image.open("mine/train/a/000.png").save("mine/test/a/copy.jpg", quality=95)
    split.main()
    assert "1 groups of near-duplicates cross the splits" in capsys.readouterr().out
    listed = files.read_csv("data/splits/near_duplicates.csv")
    assert listed[["path", "split", "splits_mix", "classes_mix"]].values.tolist() == [
        ["test/a/copy.jpg", "test", 1, 0],
        ["train/a/000.png", "train", 1, 0],
    ]
    shutil.copy("mine/train/a/000.png", "mine/test/a/copy.jpg")
    with pytest.raises(UserError, match="1 identical files .*: test/a/copy.jpg = train/a/000.png$"):
        split.main()
    workplace.set({"data.near_duplicates": "drop"})
    split.main()
    assert "test/a/copy.jpg" in set(dataset.load("test").manifest["path"])
    assert "train/a/000.png" not in set(dataset.load("train").manifest["path"])


def fixed_camera(folder):
    """Twelve images of one scene in each of two classes, which differ by noise, and twelve of others."""
    make_images(folder, {"scene": 1, "other": 12}, size=64)
    scene = np.asarray(Image.open(folder / "scene/000.png")).astype(int)
    for number in range(12):
        noisy = (scene + np.random.default_rng(number).normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"scene/{number:03}.png")


def test_near_duplicates_by_nature_are_kept_together_ignored_or_dropped(workplace, capsys):
    fixed_camera(workplace.folder / "mine")
    workplace.set({"data.images": "mine", "image_size": 64})
    with pytest.raises(
        UserError, match="'scene' has 12 images, 11 of them near-duplicates of others.*data.near_duplicates to ignore"
    ):
        split.main()
    workplace.set({"data.near_duplicates": "ignore"})
    split.main()
    assert capsys.readouterr().out.startswith("24 images of mine\n")
    assert json.loads(Path("data/splits/summary.json").read_text())["groups"] == 24
    workplace.set({"data.near_duplicates": "drop"})
    with pytest.raises(UserError, match="'scene' has 1 images"):
        split.main()


def test_near_duplicates_of_several_classes_are_pointed_out(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12}, size=200)
    Image.open(folder / "a/000.png").resize((150, 150)).save(folder / "b/copy.jpg")
    workplace.set({"data.images": "mine"})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert "1 groups of near-duplicates hold images of more than one class" in output
    assert "The first: a/000.png = b/copy.jpg" in output
    listed = files.read_csv("data/splits/near_duplicates.csv")
    assert listed["classes_mix"].tolist() == [1, 1] and listed["split"].nunique() == 1


def test_dropped_near_duplicates_are_counted_and_listed(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12}, size=200)
    for path in folder.glob("a/*"):
        Image.open(path).resize((100, 100)).save(path.with_suffix(".small.jpg"), quality=60)
    workplace.set({"data.images": "mine", "data.near_duplicates": "drop"})
    split.main()
    assert "24 images of mine; 12 dropped as near-duplicates" in capsys.readouterr().out
    assert files.read_csv("data/splits/near_duplicates.csv")["split"].value_counts()["dropped"] == 12


def test_a_table_gives_labels_groups_and_metadata(workplace, capsys):
    """No signer is on two sides; their near-duplicates follow them."""
    make_images(workplace.folder / "mine", {"x": 60}, size=100)
    Image.open("mine/x/000.png").resize((80, 80)).save("mine/x/060.jpg")  # of signer 0, labelled as of signer 15
    rows = [[f"x/{n:03}", "ab"[n % 2], f"signer {n // 4}", n % 3, "007"] for n in range(61)]
    pd.DataFrame(rows, columns=["path", "label", "signer", "width", "camera"]).to_csv("labels.csv", index=False)
    workplace.set({"data.images": "mine", "data.labels": "labels.csv", "data.columns.group": "signer"})
    split.main()
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    assert list(table.columns[-4:]) == ["table_width", "camera", "table_group", "split"]
    table["number"] = table["path"].str[2:5].astype(int)
    assert (table["table_group"] == table["number"].map(lambda n: f"signer {n // 4}")).all()
    assert set(table["camera"]) == {"007"} and set(table["table_width"]) == {"0", "1", "2"}  # as they are written
    assert (table["class"] == table["number"].map(lambda n: "ab"[n % 2])).all()
    signers = table.groupby(table["number"] // 4)
    assert (signers[["split", "group"]].nunique() == 1).all(axis=None)
    assert table.set_index("number").loc[[0, 60], "group"].nunique() == 1
    assert table["group"].nunique() == 15 and table["duplicates"].nunique() == 60
    assert "15 groups stay whole: train has" in capsys.readouterr().out


@pytest.mark.parametrize(
    "settings",
    [
        {"data.near_duplicates": "ignore"},
        {"data.near_duplicates": "drop"},
        {"data.fold": "2/3"},
        {"data.group_pattern": r"^x/(\d\d)"},  # which joins signers
        {"data.columns.split": "given"},  # train and test: validation is cut from train
    ],
    ids=lambda settings: "".join(settings),
)
def test_no_signer_is_on_two_sides(workplace, settings):
    make_images(workplace.folder / "mine", {"x": 60})
    rows = [[f"x/{n:03}", "ab"[n % 2], f"signer {n // 4}", "test" if n < 12 else "train"] for n in range(60)]
    pd.DataFrame(rows, columns=["path", "label", "group", "given"]).to_csv("labels.csv", index=False)
    workplace.set({"data.images": "mine", "data.labels": "labels.csv", **settings})
    split.main()
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    signers = table.groupby("table_group")["split"]
    assert len(signers) == 15 and (signers.nunique() == 1).all() and table["split"].nunique() == 3


def test_a_pattern_may_fit_only_images_that_are_dropped(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 10, "b": 10})
    for name in "ab":
        shutil.copy(folder / "a/000.png", folder / name / "scan1.png")
    (folder / "a/000.png").unlink()
    workplace.set({"data.images": "mine", "data.group_pattern": r"(scan\d)", "data.on_label_conflict": "drop"})
    split.main()
    assert "data.group_pattern does not fit 19 of 19 paths" in capsys.readouterr().out


@pytest.mark.parametrize(
    "pattern", [r"(patient\d+)", r"^./([^_]+)_", r"(\d+)_\d\.png$"], ids=["anywhere", "start", "end"]
)
def test_a_pattern_in_paths_makes_groups(workplace, pattern):
    folder = make_images(workplace.folder / "mine", {"a": 40, "b": 40})
    for path in folder.glob("*/*"):
        path.rename(path.with_name(f"patient{int(path.stem) // 4}_{int(path.stem) % 4}.png"))
    workplace.set({"data.images": "mine", "data.group_pattern": pattern})
    split.main()
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    patients = table.groupby(table["path"].str.extract(r"(\d+)_")[0])
    assert (patients["split"].nunique() == 1).all() and len(patients) == 10
    workplace.set({"data.group_pattern": "(nobody)"})
    with pytest.raises(UserError, match=r"\(nobody\) fits no path, such as a/patient"):
        split.main()


def test_groups_that_cross_given_splits_are_pointed_out(workplace, capsys):
    for name, count in {"train": 5, "val": 2, "test": 3}.items():
        make_images(workplace.folder / "mine" / name, {"a": count, "b": count}, seed=count)
    workplace.set({"data.images": "mine", "data.group_pattern": r"(\d+)\.png"})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert "WARNING: 3 of your groups cross the splits" in output and "stay whole" not in output


@pytest.mark.parametrize(("pattern", "alone"), [(r"a/0(\d)", 40), (r"(\d+)\.png$", 0), (r"/(00\d)", 60)])
def test_paths_that_the_pattern_of_groups_does_not_fit_are_counted(workplace, capsys, pattern, alone):
    make_images(workplace.folder / "mine", {"a": 40, "b": 40})
    workplace.set({"data.images": "mine", "data.group_pattern": pattern})
    split.main()
    assert (f"does not fit {alone} of 80 paths" in capsys.readouterr().out) == (alone > 0)


def test_faults_of_a_table_that_are_skipped_are_listed(workplace):
    make_images(workplace.folder / "mine", {"x": 30})
    rows = [[f"x/{n:03}", "ab"[n % 2]] for n in range(29)]
    pd.DataFrame([*rows, ["gone", "a"]], columns=["path", "label"]).to_csv("labels.csv", index=False)
    workplace.set({"data.images": "mine", "data.labels": "labels.csv", "data.on_unreadable": "skip"})
    split.main()
    listed = pd.read_csv("data/splits/unreadable.csv")
    assert listed.values.tolist() == [
        ["gone", "is in the table, but there is no such file"],
        ["x/029.png", "has no row in the table"],
    ]


@pytest.mark.parametrize("classes", [20, 40])
def test_the_terminal_shows_every_class_or_of_many_the_smallest(classes, capsys):
    counts = pd.DataFrame({"train": range(classes, 0, -1), "test": 1}, [f"class{n}" for n in range(classes)])
    terminal.show(*split.count_tables(counts))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = lines[lines.index(["class", "train", "test"]) + 1 :]
    smallest = sorted(counts.index, key=counts["train"].get)
    assert [row[0] for row in rows] == [*(counts.index if classes == 20 else smallest[:10]), "total"]
    assert rows[-1] == ["total", str(counts["train"].sum()), str(classes)]


def icons(folder, counts, ink, ground=0):
    """Squares on transparency, all different: {"class name": how many}."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            icon = Image.new("RGBA", (40, 40), (ground, ground, ground, 0))
            icon.paste(ink, (5, 5, 12 + number, 30 - number))
            icon.putpixel((0, 0), (*ink[:3], 5 * len(list(folder.glob("*/*")))))
            icon.save(folder / name / f"{ink[0]}-{number}.png")


def test_blank_images_are_counted_and_are_no_label_conflict(workplace, capsys):
    icons(workplace.folder / "mine", {"a": 10, "b": 10, "c": 10}, (0, 0, 0, 255))
    icons(workplace.folder / "mine", {"a": 8, "b": 1}, (255, 255, 255, 255))
    workplace.set({"data.images": "mine", "image_size": 32, "data.near_duplicates": "ignore"})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert "WARNING: 9 of 39 images are blank (all one colour), 8 of 18 of class 'a', which" in output
    assert "first: a/255-0.png; set background to another colour" in output and "more than one class" not in output
    assert "blank" not in dataset.load("train").manifest
    shutil.copy("mine/a/255-0.png", "mine/c/copy.png")
    split.main()
    assert "10 of 40 images are blank" in " ".join(capsys.readouterr().out.split())


def test_too_few_images_that_are_not_blank_name_the_background(workplace, capsys):
    icons(workplace.folder / "mine", {"a": 10, "b": 10}, (255, 255, 255, 255))
    workplace.set({"data.images": "mine", "image_size": 32, "data.near_duplicates": "ignore"})
    with pytest.raises(UserError, match="10 of these 10 images, and 20 of all 20, are blank .*: set background to"):
        split.main()
    for background in ("black", "#00FF00"):
        workplace.set({"background": background})
        split.main()
        assert "blank" not in capsys.readouterr().out


def test_animations_that_begin_blank_are_counted(workplace):
    for name in ("a", "b"):
        (workplace.folder / "mine" / name).mkdir(parents=True)
        for number in range(5):
            frame = Image.new("RGB", (32, 32), (number, 99, len(name)))
            black = Image.new("RGB", (32, 32))
            black.save(f"mine/{name}/{number}.gif", save_all=True, append_images=[frame], comment=f"{name}{number}")
    workplace.set({"data.images": "mine", "image_size": 32})
    with pytest.raises(UserError, match="5 of these 5 images.*are blank.* another frame of animations"):
        split.main()


def roboflow(folder):
    """Three versions of each of 12 images of both classes, as Roboflow names them."""
    make_images(folder, {"a": 36, "b": 36})
    for path in sorted(folder.glob("*/*")):
        number = int(path.stem)
        path.rename(path.with_name(f"img-{number // 3}_jpg.rf.{number:032x}.png"))


def test_versions_that_roboflow_made_stay_in_one_split_without_a_parameter(workplace, capsys):
    roboflow(workplace.folder / "mine")
    workplace.set({"data.images": "mine"})
    split.main()
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    images = table.groupby(["class", table["path"].str.extract(r"(img-\d+)_")[0]])
    assert len(images) == 24 and (images[["split", "group"]].nunique() == 1).all(axis=None)
    assert table["group"].nunique() == 24
    assert "72 images are versions of 24" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("pattern", "own", "roboflows"), [("", 0, 24), (r"(own\d)", 4, 24), (r"(img-\d+)_", 0, 12)])
def test_groups_that_cross_given_splits_are_named_by_what_makes_them(workplace, capsys, pattern, own, roboflows):
    roboflow(workplace.folder / "mine")
    for number, path in enumerate(sorted((workplace.folder / "mine").glob("*/*"))):
        to = workplace.folder / "mine" / ("train", "val", "test")[number % 3] / path.parent.name
        to.mkdir(parents=True, exist_ok=True)
        path.rename(to / path.name)
    for name in ("train", "test"):
        make_images(workplace.folder / "own" / name, {"a": 4, "b": 4}, seed=len(name))
        for path in (workplace.folder / "own" / name).glob("*/*"):
            path.rename(workplace.folder / "mine" / name / path.parent.name / f"own{path.name[2]}.png")
    workplace.set({"data.images": "mine", "data.group_pattern": pattern})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert f"{roboflows} of the groups that Roboflow's names make cross the splits" in output
    assert (f"WARNING: {own} of your groups cross the splits" in output) == (own > 0)
    assert output.count("cross the splits") == 1 + (own > 0)


def test_groups_of_a_pattern_that_hold_several_classes_are_counted(workplace, capsys):
    make_images(workplace.folder / "mine", {"a": 40, "b": 40})
    workplace.set({"data.images": "mine", "data.group_pattern": r"0(\d\d)\.png"})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert "40 of the groups of data.group_pattern (40) hold images of several classes" in output


def correct(workplace, *rows):
    """Writes data/corrections.csv: (path, decision, label), with the hashes of files that are there."""
    path = workplace.folder / params.CORRECTIONS
    path.parent.mkdir(exist_ok=True)
    found = []
    for name, decision, label in rows:
        file = workplace.folder / "mine" / name
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
        found.append(Correction(name, sha256, decision, label))
    corrections.write(found, path)


def divided():
    """{path: (split, class)} of data/splits."""
    tables = {name: dataset.load(name).manifest for name in dataset.SPLITS}
    return {path: (name, of) for name, x in tables.items() for path, of in zip(x["path"], x["class"], strict=True)}


def outputs():
    return {x: x.read_bytes() for x in Path("data/splits").rglob("*") if x.is_file()}


def with_copies(folder):
    """Images with near-duplicates in their own class and in the next one."""
    make_images(folder, {"a": 20, "b": 20, "c": 20}, size=100)
    for number in range(8):
        Image.open(folder / f"a/{number:03}.png").resize((90, 90)).save(folder / f"a/small {number}.png")
        Image.open(folder / f"b/{number:03}.png").resize((90, 90)).save(folder / f"c/small {number}.png")


def with_splits(folder, **counts):
    for name, count in counts.items():
        make_images(folder / name, {"a": count, "b": count, "c": count}, seed=count)


DIVISIONS = {
    "random": (lambda folder: make_images(folder, {"a": 30, "b": 20, "c": 20}), {}),
    "groups": (lambda folder: make_images(folder, {"a": 30, "b": 30, "c": 30}), {"data.group_pattern": r"(\d\d)\.png"}),
    "near-duplicates are kept together": (with_copies, {}),
    "near-duplicates are dropped": (with_copies, {"data.near_duplicates": "drop"}),
    "a fold": (with_copies, {"data.fold": "2/4"}),
    "given splits": (partial(with_splits, train=14, val=6, test=5), {}),
    "given splits without validation": (partial(with_splits, train=18, test=6), {}),
    "majority": (with_copies, {"data.on_label_conflict": "majority"}),
}


@pytest.mark.parametrize("division", DIVISIONS)
def test_corrections_move_no_image_to_another_split(workplace, division):
    make, settings = DIVISIONS[division]
    folder = workplace.folder / "mine"
    make(folder)
    if division == "majority":
        for name in ("b/copy.png", "c/copy.png"):
            shutil.copy(folder / "a/000.png", folder / name)
    workplace.set({"data.images": "mine", "image_size": 32, **settings})
    split.main()
    before, plain = divided(), outputs()
    correct(workplace)
    split.main()
    assert outputs() == plain
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    changed = {path: "abc"["abc".index(path.split("/")[-2]) - 1] for path in paths[::10]}
    dropped, unsure = paths[5::20], paths[7::20]
    rows = [(path, "label", name) for path, name in changed.items()]
    correct(workplace, *rows, *((path, "drop", "") for path in dropped), *((path, "unsure", "") for path in unsure))
    split.main()
    after = divided()
    assert {path: after[path][0] for path in after if path in before} == {
        path: before[path][0] for path in before if path in after
    }
    assert not {*dropped} & after.keys()
    assert {path: after[path][1] for path in changed if path in after} == {
        path: name for path, name in changed.items() if path in after
    }
    # Near-duplicates that only became one of a class, or no longer are, come and go.
    expected = before.keys() - {*dropped}
    assert after.keys() == expected or settings and "given" not in division and len(after.keys() ^ expected) <= 8
    table = pd.concat([dataset.load(name).manifest.assign(split=name) for name in split.SPLITS])
    assert division.startswith("given splits") or (table.groupby("group")["split"].nunique() == 1).all()
    applied = files.read_csv("data/splits/corrections.csv", types=dict.fromkeys(["split", "label", "note"], str))
    copies = ["b/copy.png", "c/copy.png"] if division == "majority" else []  # of a/000.png, which is corrected
    assert applied["path"].tolist() == sorted([*changed, *dropped, *unsure, *copies])
    for row in applied[~applied["path"].isin(copies)].itertuples():
        used = after.get(row.path, ("", ""))
        given = row.path.split("/")[-2]
        assert (row.split, row.given) == (used[0], given)
        assert row.label == {"drop": "", "unsure": given, "label": changed.get(row.path)}[row.decision]


def test_what_was_applied_is_counted(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12, "unlabelled": 5})
    (folder / "a/broken.png").write_text("no image")
    rows = [("a/000.png", "label", "b"), ("a/001.png", "label", "a"), ("b/000.png", "new_class", "b")]
    rows += [("b/001.png", "drop", ""), ("b/002.png", "unsure", ""), ("a/broken.png", "drop", "")]
    rows += [("unlabelled/000.png", "label", "a"), ("gone.png", "drop", ""), ("unlabelled/001.png", "unsure", "")]
    correct(workplace, *rows)
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert (
        "Corrections: 1 label changed, 1 unlabelled image labelled, 2 labels confirmed, 2 images dropped, 1 image "
        "unsure, 1 row of an image that is gone." in output
    )
    assert "left out as unlabelled: 'unlabelled' (4 images)" in output
    counts = files.read_json("data/splits/summary.json")["corrections"]
    assert corrections.describe(counts) in output and counts["changed"] == 1
    assert divided()["unlabelled/000.png"] == ("train", "a")
    assert files.read_csv("data/splits/unreadable.csv").empty
    assert (folder / "a/000.png").exists() and sum(len(dataset.load(name).labels) for name in split.SPLITS) == 24


def test_an_image_that_a_correction_labels_goes_where_its_near_duplicates_are(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12}, size=100)
    workplace.set({"data.images": "mine"})
    split.main()
    before = divided()
    (folder / "unlabelled").mkdir()
    for path in before:
        Image.open(folder / path).resize((90, 90)).save(folder / "unlabelled" / path.replace("/", " "))
    correct(workplace, *((f"unlabelled/{path.replace('/', ' ')}", "label", "a") for path in before))
    split.main()
    after = divided()
    assert len(after) == 48 and {path: after[path] for path in before} == before
    assert all(after[f"unlabelled/{path.replace('/', ' ')}"] == (before[path][0], "a") for path in before)


def test_corrections_follow_files_that_move_and_never_hold_for_another_image(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12})
    correct(workplace, ("a/000.png", "label", "b"), ("a/001.png", "drop", ""))
    (folder / "a/000.png").rename(folder / "b/other name.png")
    (folder / "a/001.png").rename(folder / "a/other name.png")
    (folder / "a/002.png").rename(folder / "a/001.png")
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    paths = divided()
    assert "a/other name.png" not in paths and paths["a/001.png"][1] == "a" and paths["b/other name.png"][1] == "b"
    shutil.copy(folder / "a/003.png", folder / "b/other name.png")
    with pytest.raises(UserError, match=r"^data/corrections.csv: row 2 \(a/000.png\) fit no image of mine"):
        split.main()


def test_a_correction_resolves_a_label_conflict_and_may_make_one(workplace):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12})
    shutil.copy(folder / "a/000.png", folder / "b/copy.png")
    Image.open(folder / "a/001.png").save(folder / "a/same pixels.bmp")
    workplace.set({"data.images": "mine", "image_size": 32})
    for rows in ([("a/000.png", "label", "a")], [("b/copy.png", "drop", "")], [("b/copy.png", "label", "a")]):
        correct(workplace, *rows)
        split.main()
        assert divided()["a/000.png"][1] == "a" and divided().get("b/copy.png", ("", "a"))[1] == "a"
    correct(workplace, ("b/copy.png", "drop", ""), ("a/001.png", "label", "b"))
    with pytest.raises(UserError, match="1 images are in more than one class.*a/001.png = a/same pixels.bmp"):
        split.main()
    for name in ("train", "val", "test"):  # identical files in two given splits
        make_images(workplace.folder / "given" / name, {"a": 4, "b": 4}, seed=len(name))
    shutil.copy("given/train/a/000.png", "given/test/a/copy.png")
    workplace.set({"data.images": "given"})
    correct(workplace, ("test/a/copy.png", "drop", ""))
    split.main()
    assert "train/a/000.png" in divided()


def test_classes_that_corrections_make_empty_or_leave_in_too_few_splits(workplace, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 12, "b": 12, "c": 4})
    workplace.set({"data.images": "mine", "image_size": 32})
    split.main()
    of_test = next(path for path, (name, _) in divided().items() if name == "test" and path[0] == "c")
    correct(workplace, (of_test, "label", "a"))
    with pytest.raises(
        UserError, match=r"'c' \(3 images\) has none in test: corrections move no image.*Add images to m"
    ):
        split.main()
    correct(workplace, ("a/000.png", "new_class", "d"))
    with pytest.raises(UserError, match=r"'d' \(1 image\) has none in"):
        split.main()
    capsys.readouterr()
    correct(workplace, *((f"c/{x.name}", "label", "b") for x in (folder / "c").iterdir()))
    split.main()
    assert "WARNING: no image is left of the class 'c'" in capsys.readouterr().out
    assert dataset.load("test").classes == ["a", "b"]
    correct(workplace, *((f"{x.parent.name}/{x.name}", "drop", "") for x in folder.glob("[bc]/*")))
    with pytest.raises(UserError, match="corrections of labels leave 'a'; two are needed"):
        split.main()
    correct(workplace, ("a/000.png", "label", "bb"))
    with pytest.raises(UserError, match=r"row 2 \(a/000.png\) has 'bb' \(did you mean 'b'\?\)"):
        split.main()


def test_a_correction_to_a_class_that_is_not_used_leaves_the_image_out(workplace, capsys):
    make_images(workplace.folder / "mine", {"a": 12, "b": 12, "c": 12})
    correct(workplace, ("a/000.png", "label", "c"), ("c/000.png", "label", "a"), ("c/001.png", "label", "c"))
    workplace.set({"data.images": "mine", "image_size": 32, "data.classes": ["a", "b"]})
    split.main()
    output = " ".join(capsys.readouterr().out.split())
    assert "Left out, because they are corrected to a class that is not used: 'c' (1 image)." in output
    assert "data.classes does not name them: 'c' (11 images)" in output
    paths = divided()
    assert "a/000.png" not in paths and paths["c/000.png"] == ("train", "a") and len(paths) == 24


def test_a_class_that_corrections_add_works_with_data_classes_and_has_a_warning_if_it_is_nearly_another(
    workplace, capsys
):
    make_images(workplace.folder / "mine", {"a": 20, "b": 20})
    workplace.set({"data.images": "mine", "image_size": 32, "data.classes": ["a", "b", "A"]})
    correct(workplace, *((f"a/{number:03}.png", "new_class", "A") for number in range(0, 20, 2)))
    split.main()
    assert "the classes 'A' and 'a' differ only by case" in " ".join(capsys.readouterr().out.split())
    assert dataset.load("test").classes == ["A", "a", "b"]


def test_corrections_that_change_while_images_are_read_are_named(workplace, monkeypatch):
    make_images(workplace.folder / "mine", {"a": 12, "b": 12})
    correct(workplace, ("a/000.png", "label", "b"))
    workplace.set({"data.images": "mine", "image_size": 32})

    def save(*arguments, save=split.overview.save):
        save(*arguments)
        correct(workplace, ("a/000.png", "drop", ""), ("a/001.png", "drop", ""))

    monkeypatch.setattr(split.overview, "save", save)
    with pytest.raises(UserError, match="data/corrections.csv changed while"):
        split.main()


def test_images_without_a_usable_label_in_a_table_can_be_labelled_or_dropped(workplace):
    folder = make_images(workplace.folder / "mine", {"x": 24})
    names = [f"x/{number:03}.png" for number in range(24)]
    labels = ["", *("ab"[number % 2] for number in range(1, 23))]  # the last file has no row
    table = pd.DataFrame({"path": names[:23], "label": labels, "site": "s"})
    pd.concat([table, pd.DataFrame({"path": ["gone.png"], "label": ["a"]})]).to_csv("labels.csv", index=False)
    workplace.set({"data.images": "mine", "data.labels": "labels.csv", "image_size": 32})
    rows = [(names[0], "label", "a"), (names[23], "label", "b"), ("gone.png", "drop", "")]
    for count in range(3):
        correct(workplace, *rows[:count])
        with pytest.raises(UserError, match=f"do not go together in {3 - count} places"):
            split.main()
    correct(workplace, *rows)
    split.main()
    found = divided()
    assert len(found) == 24 and found[names[0]] == ("train", "a") and found[names[23]] == ("train", "b")
    assert files.read_csv("data/splits/unreadable.csv").empty and not (folder / "gone.png").exists()
    correct(workplace, rows[0], rows[2], (names[23], "drop", ""))
    split.main()
    assert divided().keys() == {*names[:23]}
