import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from stages.common import files, params
from stages.reporting import terminal_summary
from stages.reporting.conclusions import Conclusions
from stages.reporting.next_steps import Step
from tests.support import environment

TEXTS = dict.fromkeys(("mistakes", "doubted", "flips", "kept_weights", "overfitting", "int8", "novelty"), "")
CONCLUSIONS = Conclusions(
    quality="good",
    headline="Good: 97.5% are right.",
    exported_model="The fine-tuned model is exported.",
    overfits="no",
    smallest_file="int8",
    **TEXTS,
)
LOOK = Step("Look at 7 labels.", "head -n 20 data/audit/labels.csv")
STEPS = [LOOK, Step("A.", "run " * 40), Step("B.", "b"), Step("C.", "c"), Step("Never.", "never")]
BACK = "git checkout HEAD params.yaml metrics && dvc checkout"


def write_metrics(folder, accuracy, agreement, loss=0.2):
    (folder / "metrics").mkdir(exist_ok=True)
    for name, values in {
        "finetuned": {"accuracy": accuracy, "loss": loss, "kept_epoch": round(100 * accuracy)},
        "frozen": {"accuracy": 0.5, "loss": 0.7, "kept_epoch": 5},
        "export": {"agreement": agreement},
    }.items():
        (folder / f"metrics/{name}.json").write_text(json.dumps(values))


def images_of(*numbers, wrong=(), label="cat", content="v1"):
    """A test split of numbered images: its manifest and its predictions, of which some are `wrong`."""
    paths = [f"{label}/{number}.png" for number in numbers]
    hashes = [hashlib.sha256(f"{path} {content}".encode()).hexdigest() for path in paths]
    predicted = ["dog" if number in wrong else label for number in numbers]
    table = pd.DataFrame({"path": paths, "actual": label, "predicted": predicted, "frozen": "dog"})
    return pd.DataFrame({"path": paths, "sha256": hashes}), table


def store(data):
    """Puts a file into DVC's cache and returns its hash."""
    md5 = hashlib.md5(data).hexdigest()
    path = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return md5


def write_run(manifest, predictions, images="images 1", total=40):
    """Writes a test split and its predictions, DVC's copies of them in the cache, and dvc.lock."""
    for path, table in {"data/splits/test/manifest.csv": manifest, "plots/predictions.csv": predictions}.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_csv(table, Path(path))
    parts = [{"md5": store(Path("data/splits/test/manifest.csv").read_bytes()), "relpath": "manifest.csv"}]
    listing = store(json.dumps(parts).encode())
    Path(f".dvc/cache/files/md5/{listing[:2]}/{listing[2:]}").rename(
        f".dvc/cache/files/md5/{listing[:2]}/{listing[2:]}.dir"
    )
    summary = store(json.dumps({"train": {"cat": total - 8}, "validation": {"cat": 0}, "test": {"cat": 8}}).encode())
    split = {
        "deps": [{"path": "data/mine", "md5": images}],
        "params": {"params.yaml": {"data": {"images": "data/mine"}}},
        "outs": [{"path": "data/splits/summary.json", "md5": summary}]
        + [{"path": "data/splits/test", "md5": f"{listing}.dir"}],
    }
    predicted = store(Path("plots/predictions.csv").read_bytes())
    evaluate = {"outs": [{"path": "plots/predictions.csv", "md5": predicted}]}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"split": split, "evaluate": evaluate}}))


def present_run(total=48):
    """What the run in the working folder says of its test split."""
    if not Path("plots/predictions.csv").exists():
        return {}
    test = files.read_csv("data/splits/test/manifest.csv")
    return {"predictions": files.read_csv("plots/predictions.csv"), "manifests": [None, None, test], "total": total}


@pytest.fixture
def show(workplace, capsys):
    """A function that shows the end of a run, in a working folder with the default parameters and metrics."""
    write_metrics(workplace.folder, 0.95, 0.99)

    def show(steps=STEPS, doubted="", **changes):
        now = params.flatten(params.read(*params.Params.model_fields).model_dump())
        settings = now | {name.replace("__", "."): value for name, value in changes.items()}
        conclusions = dataclasses.replace(CONCLUSIONS, doubted=doubted)
        terminal_summary.show(SimpleNamespace(settings=settings, **present_run()), conclusions, steps)
        return capsys.readouterr().out

    return show


@pytest.fixture
def committed(workplace, show):
    workplace.run("git", "init", "-q")
    workplace.commit()
    return workplace.folder


def test_says_which_model_how_good_it_is_what_to_do_and_where_the_report_is(show):
    lines = [line.rstrip() for line in show().splitlines()]
    assert lines == [
        "",
        "Good: 97.5% are right.",
        "The model is data/models/classifier. The fine-tuned model is exported.",
        "",
        "Next",
        "  1. Look at 7 labels.",
        "     head -n 20 data/audit/labels.csv",
        "  2. A.",
        f"     {'run ' * 40}".rstrip(),  # one line, to be copied
        "  3. B.",
        "     b",
        "  4. C.",
        "     c",
        "",
        "The report, for any browser: plots/report.html",
    ]


def test_names_metrics_and_settings_that_differ_from_the_last_commit(committed, show):
    assert "The metrics are those of the last commit, to three decimals." in show()
    assert "Settings" not in show()
    write_metrics(committed, 0.9501, 0.99)
    assert "The metrics are those of the last commit, to three decimals." in show()
    write_metrics(committed, 0.975, 0.98)
    said = show(finetune__learning_rate=0.00001, evaluate__min_metrics={"accuracy": 0.9})
    [header, finetuned, export] = said.split("Changed since the last commit\n")[1].split("\n\n")[0].splitlines()
    assert header.split() == ["model", "accuracy", "agreement"]
    assert finetuned.split() == ["fine-tuned", "0.950", "->", "0.975"]
    assert export.split() == ["exported", "files", "0.990", "->", "0.980"]
    assert f"Settings that differ from the last commit; `{BACK}` takes them back" in said
    assert "  finetune.learning_rate: auto -> 0.00001\n" in said
    assert "  evaluate.min_metrics: accuracy: 0 -> accuracy: 0.9\n" in said
    assert said.count(" -> ") == 4


@pytest.mark.parametrize(
    ("accuracy", "loss", "sentence"),
    [
        (0.95, 0.237, "Worse than the last commit: the loss rose by 0.037, from 0.200 to 0.237."),
        (0.945, 0.2, "Worse than the last commit: the accuracy fell by 0.5 points, from 95% to 94.5%."),
        (0.9, 0.4, "the loss rose by 0.200, from 0.200 to 0.400; the accuracy fell by 5.0 points, from 95% to 90%."),
        (
            0.96,
            0.237,
            "Worse in part than the last commit: the loss rose by 0.037, from 0.200 to 0.237; the accuracy rose",
        ),
        (0.96, 0.2, ""),
        (0.95, 0.2001, ""),
        (0.95, 0.1, ""),
    ],
)
def test_a_worse_experiment_is_said_to_be_worse_and_how_to_go_back(accuracy, loss, sentence, committed, show):
    write_metrics(committed, accuracy, 0.99, loss)
    said = " ".join(show(train__views=10).split())
    assert sentence in said and ("than the last commit:" in said) == bool(sentence)
    back = f"1. Go back to the settings of the last commit, and to their outputs. {BACK} 2. Look at 7 labels."
    assert (back in said) == bool(sentence) and said.count(BACK) == 1
    assert said.index("Good:") <= said.index(sentence)


def test_a_worse_run_of_the_same_settings_has_no_settings_to_go_back_to(committed, show):
    write_metrics(committed, 0.9, 0.99)
    said = show()
    assert "Worse than the last commit" in said and "git checkout" not in said


@pytest.mark.parametrize(
    ("key", "committed_value", "other"),
    [("train.views", 5, 10), ("image_size", 224, 96), ("finetune.keep", "better", "frozen")],
)
def test_no_setting_of_the_last_commit_is_advised(key, committed_value, other, committed, show):
    changed = {key.replace(".", "__"): other}
    assert "Try." not in show(steps=[Step.change("Try.", key, committed_value), LOOK], **changed)
    assert f"1. Try.\n     dvc exp run -S {key}={other}" in show(steps=[Step.change("Try.", key, other), LOOK])


def test_mistakes_with_doubtful_labels_are_said_to_be_that(show):
    sentence = "2 of the 10 mistakes have labels that the audit doubts."
    lines = show(doubted=sentence).splitlines()
    assert lines[1].startswith("Good:") and lines[2] == sentence


def test_is_the_same_below_the_root_of_the_repository(workplace, committed, show, monkeypatch):
    (committed / "below").mkdir()
    for name in ("params.yaml", "metrics"):
        (committed / name).rename(committed / "below" / name)
    workplace.commit()
    monkeypatch.chdir(committed / "below")
    assert "The metrics are those of the last commit, to three decimals." in show()


@pytest.mark.parametrize("missing", ["git", "commit", "files", "metrics"])
def test_is_silent_on_what_git_cannot_tell(missing, workplace, show, monkeypatch):
    if missing == "git":
        monkeypatch.setenv("PATH", "")
    else:
        subprocess.run(["git", "init", "-q"], check=True, env=environment())
    if missing == "metrics":  # of a version that had others
        (workplace.folder / "metrics/export.json").write_text('{"int8": {"agreement": 1}}')
        workplace.run("git", "add", "metrics/export.json")
        write_metrics(workplace.folder, 0.95, 0.99)
    if missing in ("files", "metrics"):
        workplace.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm", "x")
    said = show(seed=1)
    assert "last commit" not in said and "plots/report.html" in said


def test_is_silent_on_settings_of_another_version(committed, show):
    (committed / "params.yaml").write_text("old: 1\n")
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "old"], check=True, env=environment()
    )
    subprocess.run(["git", "checkout", "-q", "HEAD~1", "params.yaml"], check=True, env=environment())
    said = show(seed=1)
    assert "Settings" not in said and "The metrics are those of the last commit, to three decimals." in said


def changes(said):
    """The lines of the section on changes."""
    return said.split("Changed since the last commit\n")[1].split("\n\n")[0].splitlines()


@pytest.fixture
def first_run(workplace, show):
    """A commit of a run with eight test images, of which the model got two wrong."""
    (workplace.folder / ".gitignore").write_text("/data\n/plots\n/.dvc\n")
    write_run(*images_of(*range(8), wrong=(0, 5)))
    workplace.run("git", "init", "-q")
    workplace.commit()


def test_other_images_are_said_and_only_the_shared_test_images_are_compared(first_run, show, workplace):
    write_run(*images_of(*range(3, 13), wrong=(9, 10, 11)), images="images 2")
    write_metrics(workplace.folder, 0.7, 0.9)
    said = show(seed=1)
    [sentence, more, header, finetuned, frozen] = changes(said)
    assert (
        f"{sentence} {more}".split()
        == (
            "The images have changed: 40 then, 48 now. The test splits, of 8 images then and 10 now, share 5. On these "
            "alone:"
        ).split()
    )
    assert header.split() == ["model", "accuracy", "right"]
    assert finetuned.split() == ["fine-tuned", "0.800", "->", "1.000", "4", "->", "5"]
    assert frozen.split() == ["frozen", "0.000", "->", "0.000", "0", "->", "0"]
    assert "0.950" not in said and "0.700" not in said and "0.990" not in said
    assert "  seed: 42 -> 1\n" in said


@pytest.mark.parametrize(
    ("now", "images"),
    [
        (images_of(*range(20, 28)), "images 1"),  # another seed
        (images_of(*range(8), content="v2"), "images 2"),  # other images of the same names
        (images_of(*range(8), label="lynx"), "images 2"),  # another class
    ],
)
def test_test_splits_that_share_no_image_are_not_compared(now, images, first_run, show, workplace):
    write_run(*now, images=images)
    write_metrics(workplace.folder, 0.7, 0.9)
    said = show()
    what = "The test split is another." if images == "images 1" else "The images have changed: 40 then, 48 now."
    assert " ".join(changes(said)[0].split()).startswith(what)
    assert "share none, so the metrics cannot be compared." in " ".join(said.split()) and " -> " not in said


@pytest.mark.parametrize("lost", ["plots/predictions.csv", "data/splits/test", "all"])
def test_without_the_old_files_in_the_cache_nothing_is_compared(lost, first_run, show, workplace):
    outputs = [y for x in yaml.safe_load(Path("dvc.lock").read_text())["stages"].values() for y in x["outs"]]
    gone = [x["md5"] for x in outputs if lost in ("all", x["path"])]
    for md5 in gone:
        Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").unlink()
    write_run(*images_of(*range(3, 13), wrong=(9,)), images="images 2", total=48)
    write_metrics(workplace.folder, 0.7, 0.9)
    said = show()
    counts = "" if lost == "all" else ": 40 then, 48 now"
    expected = f"The images have changed{counts}. The metrics are of another test split, and cannot be compared."
    assert " ".join(" ".join(changes(said)).split()) == expected and " -> " not in said


def test_a_cache_in_another_place_is_found(first_run, show, workplace):
    Path(".dvc/cache").rename("elsewhere")
    Path(".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere\n")
    write_run(*images_of(*range(3, 13)), images="images 2")
    assert "share 5. On these alone" in " ".join(show().split())


def test_the_same_test_images_are_compared_in_full(first_run, show, workplace):
    manifest, predictions = images_of(*range(8), wrong=(1,))
    write_run(manifest.assign(group=1), predictions)  # other numbers of groups, as after a change of other images
    write_metrics(workplace.folder, 0.7, 0.99)
    said = show()
    assert "0.950 -> 0.700" in said and "test split" not in said
    assert "Worse than the last commit: the accuracy fell by 25.0 points, from 95% to 70%." in said


def test_of_other_test_images_the_shared_ones_say_whether_it_is_worse(first_run, show, workplace):
    write_run(*images_of(*range(3, 13), wrong=(3, 4, 5)), images="images 2")
    assert "Worse than the last commit: the accuracy fell by 40.0 points, from 80% to 40%." in " ".join(show().split())


@pytest.mark.parametrize(
    ("relabelled", "images", "sentence"),
    [
        ([0, 5], "images 1", "2 test labels have changed. Then and now, by today's labels:"),
        ([5], "images 1", "1 test label has changed. Then and now, by today's labels:"),
        (
            [0],
            "images 2",
            "The images have changed: 40 then, 48 now. 1 test label has changed. Then and now, by today's",
        ),
    ],
)
def test_after_labels_were_corrected_both_models_are_measured_by_those_of_today(
    relabelled, images, sentence, first_run, show, workplace
):
    manifest, predictions = images_of(*range(8), wrong=(0, 5))
    predictions.loc[relabelled, "actual"] = "dog"  # what the models of both runs predict
    write_run(manifest.assign(label=1), predictions, images=images)
    write_metrics(workplace.folder, 1.0, 0.99)
    said = " ".join(show().split())
    right = 6 + len(relabelled)
    assert f"Changed since the last commit {sentence}" in said and "test split" not in said
    assert f"{right / 8:.3f} -> {right / 8:.3f} {right} -> {right}" in said and "0.950" not in said


def test_of_other_test_images_those_with_other_labels_are_measured_by_those_of_today(first_run, show, workplace):
    manifest, predictions = images_of(*range(1, 8), wrong=(5,))  # one was dropped
    predictions.loc[4, "actual"] = "dog"
    write_run(manifest, predictions)
    said = " ".join(show().split())
    assert "of 8 images then and 7 now, share 7. On these alone, by today's labels:" in said
    assert "1.000 -> 1.000 7 -> 7" in said


@pytest.mark.parametrize("lock", ["", "schema: '2.0'\n", "stages: {split: {outs: []}}", "[broken"])
def test_a_lock_that_says_nothing_changes_nothing(lock, first_run, show, workplace):
    Path("dvc.lock").write_text(lock)
    assert "The metrics are those of the last commit, to three decimals." in show()
