import numpy as np
import pandas as pd
from PIL import Image

from stages import audit, split
from stages.common import dataset, files
from stages.labels import corrections
from stages.labels.corrections import Correction
from tests.support import make_images, make_split

OUTPUTS = [f"data/audit/{name}" for name in ("labels.csv", "summary.json", "samples.npz", "learning_curve.json")]


def mean_colours(splits):
    """Stands for features.load."""
    return np.concatenate([split.pixels[:].mean(axis=(1, 2)) for split in splits.values()])


def run(workplace, monkeypatch, folder):
    workplace.set({"data.images": folder, "image_size": 32})
    split.main()
    monkeypatch.setattr(audit.features, "load", mean_colours)
    audit.main()


def test_finds_images_in_the_wrong_folder_whatever_split_they_are_in(workplace, monkeypatch, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 30, "NA": 30})
    for name, other, moved in (("a", "NA", ["000.png", "001.png"]), ("NA", "a", ["002.png"])):
        for file in moved:
            (folder / name / file).rename(folder / other / f"moved {file}")
    with Image.open(folder / "a/moved 002.png") as image:
        image.resize((48, 24)).save(folder / "a/moved 002.png")
    run(workplace, monkeypatch, "mine")
    table = files.read_csv("data/audit/labels.csv")
    assert set(table["path"]) == {"NA/moved 000.png", "NA/moved 001.png", "a/moved 002.png"}
    assert (table["suggested"] != table["given"]).all() and table["quality"].is_monotonic_increasing
    for row in table.itertuples():
        assert row.path in set(dataset.load(row.split).manifest["path"])
    summary = files.read_json("data/audit/summary.json")
    assert 0.03 <= summary.pop("label_error_rate") <= 0.07
    said = summary.pop("finding")
    assert summary == {"cross_val_accuracy": 57 / 60, "folds": 5, "images": 60}
    with np.load("data/audit/samples.npz") as samples:
        assert samples["pixels"].shape == (3, 32, 32, 3) and samples["pixels"].dtype == np.uint8
        expected = [[48, 24] if path == "a/moved 002.png" else [24, 24] for path in table["path"]]
        assert samples["sizes"].tolist() == expected
    curve = files.read_json("data/audit/learning_curve.json")
    assert curve["sizes"][-1] == 48 and len(curve["accuracy"]) == len(curve["intervals"]) == len(curve["sizes"])
    Image.open("plots/label_audit.png").load()
    output = capsys.readouterr().out
    assert said.startswith("3 labels of 60 are doubtful;") and said in " ".join(output.split())
    assert {" ".join(line.split()[-2:]) for line in output.splitlines()[-3:]} == {
        "NA/moved 000.png",
        "NA/moved 001.png",
        "a/moved 002.png",
    }
    before = [(workplace.folder / path).read_bytes() for path in OUTPUTS]
    audit.main()
    assert [(workplace.folder / path).read_bytes() for path in OUTPUTS] == before


def test_is_silent_where_its_classifiers_guess(workplace, monkeypatch, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 30, "b": 30})
    for number in range(0, 30, 2):  # every other image changes places
        a, b, c = (folder / f"{name}/{number:03}.png" for name in ("a", "b", "a"))
        a.rename(folder / "between.png")
        b.rename(c)
        (folder / "between.png").rename(b)
    run(workplace, monkeypatch, "mine")
    assert files.read_json("data/audit/summary.json")["label_error_rate"] is None
    assert files.read_csv("data/audit/labels.csv").empty
    assert files.read_json("data/audit/learning_curve.json")["doubled"] is None
    with np.load("data/audit/samples.npz") as samples:
        assert samples["pixels"].shape == (0, 32, 32, 3) and samples["sizes"].shape == (0, 2)
    Image.open("plots/label_audit.png").load()
    assert "hardly beat guessing" in capsys.readouterr().out


def test_none_is_found_among_good_labels(workplace, monkeypatch, capsys):
    make_images(workplace.folder / "mine", {"a": 30, "b": 30})
    run(workplace, monkeypatch, "mine")
    assert files.read_json("data/audit/summary.json")["label_error_rate"] == 0
    columns = "path split given suggested quality given_probability suggested_probability label note"
    assert list(files.read_csv("data/audit/labels.csv").columns) == columns.split()
    assert "No label is doubtful" in capsys.readouterr().out


def test_labels_that_corrections_confirm_or_change_are_not_listed(workplace, monkeypatch, capsys):
    folder = make_images(workplace.folder / "mine", {"a": 30, "b": 30})
    for number in range(4):
        (folder / f"a/{number:03}.png").rename(folder / f"b/moved {number}.png")
    rows = [Correction(f"b/moved {number}.png", "", "label", name) for number, name in enumerate("ab")]
    corrections.write([*rows, Correction("b/moved 2.png", "", "unsure")], "corrections.csv")
    workplace.set({"data.corrections": "corrections.csv"})
    run(workplace, monkeypatch, "mine")
    table = files.read_csv("data/audit/labels.csv", types={"label": str, "note": str})
    assert set(table["path"]) == {"b/moved 2.png", "b/moved 3.png"}
    assert (table[["label", "note"]] == "").all(axis=None)
    assert "2 labels of 60 are doubtful, besides 2 that were reviewed. " in capsys.readouterr().out
    with np.load("data/audit/samples.npz") as samples:
        assert len(samples["pixels"]) == 2


def test_the_chart_shows_the_image_that_the_row_names(monkeypatch):
    splits = {name: make_split(5, ["a", "b"], seed=seed) for seed, name in enumerate(dataset.SPLITS)}
    for split_ in splits.values():
        split_.manifest[["width", "height"]] = 40, 30
    drawn = {}
    monkeypatch.setattr(
        audit.base,
        "grid",
        lambda pixels, titles, heading, *rest: drawn.update(
            pixels=pixels, titles=titles, heading=heading, sizes=rest[-1]
        ),
    )
    columns = ["path", "split", "given", "suggested", "quality", "given_probability", "suggested_probability"]
    rows = [(splits[name].manifest["path"][3], name, "a", "b", 0.2, 0.2, 0.8) for name in ("test", "train")]
    images = pd.concat({name: split.manifest for name, split in splits.items()})
    images = images.loc[[("test", 3), ("train", 3)]]
    audit.draw(pd.DataFrame(rows, columns=columns), *audit.read_images(images, splits), "2 labels are doubtful.")
    assert drawn["heading"] == "2 labels are doubtful."
    assert (drawn["pixels"] == np.stack([splits["test"].pixels[3], splits["train"].pixels[3]])).all()
    assert drawn["titles"] == [f"label a (20%)\nsuggested b (80%)\n{path}" for path, *_ in rows]
    assert drawn["sizes"].tolist() == [[40, 30]] * 2


def test_a_class_that_is_one_group_is_checked_image_by_image():
    images = pd.DataFrame({"label": [0, 0, 0, 1, 1, 1], "group": [0, 0, 0, 0, 1, 2]})
    assert audit.groups_of(images).tolist() == [0, 1, 2, 3, 4, 5]
    assert audit.groups_of(images.assign(group=[0, 0, 1, 2, 2, 3])).tolist() == [0, 0, 1, 2, 2, 3]
