"""Grids through DVC's queue, what is made of experiments, and sharing them: one small project that has run."""

import collections
import io
import json
import re
import shutil
import subprocess
import time

import boto3
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer

from tests.support import ROOT, Project, clone_project
from tests.test_pipeline import SMALL, ran

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    project = clone_project(tmp_path_factory.mktemp("base"))
    project.set(SMALL | {"train_frozen.epochs": 1, "finetune.epochs": 1})
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("dvc", "repro")
    project.commit()
    return project


@pytest.fixture(scope="module")
def grids(base):
    """The README's two grids, with fewer values, run by two workers; how often each stage ran in all."""
    for line in readme_block("--queue"):
        base.run("bash", "-c", line.replace("60,80,100,120,140", "100,120,140").replace("80,100,120'", "100,120'"))
    end = time.monotonic() + 900
    while re.search("Queued|Running", base.run("dvc", "queue", "status")) and time.monotonic() < end:
        time.sleep(3)
    logs = base.folder.glob(".dvc/tmp/exps/run/*/*.out")
    base.ran = collections.Counter(stage for log in logs for stage in ran(log.read_text()))
    return base


def readme_block(words):
    """The lines, without comments, of the README's block of commands in which `words` occur."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if words in block]
    return [line.split("  #")[0].rstrip() for line in block.splitlines()]


def test_all_of_two_grids_succeed_and_what_they_share_does_not_run_again(grids):
    status = grids.run("dvc", "queue", "status")
    assert status.count("Success") == 7, status
    assert grids.ran == {"finetune": 6, "evaluate": 6, "plot": 6}  # one of the 7 settings is the baseline's


def test_the_table_of_experiments_starts_with_what_matters(grids):
    command = "\n".join(readme_block("dvc exp show --csv"))
    table = pd.read_csv(io.StringIO(grids.run("bash", "-c", command)))
    assert list(table.columns) == [
        "Experiment",
        "rev",
        "typ",
        "finetuned.accuracy",
        "finetuned.loss",
        "finetuned.auc",
        "finetune.fine_tune_at",
        "finetune.learning_rate",
    ]
    assert len(table.dropna(subset="Experiment")) == 7 and table["finetuned.accuracy"].between(0, 1).all()
    assert "| finetuned.accuracy" in grids.run("bash", "-c", command.replace("--csv", "--md"))


def test_plots_diff_draws_both_histories_in_one_chart(grids):
    first, second = names(grids)[:2]
    shown = json.loads(grids.run("dvc", "plots", "diff", first, second, "--json"))["data"]
    assert {rev for plot in shown["Accuracy"] for rev in plot["revisions"]} == {first, second}


def names(project):
    refs = project.run("git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/*").split()
    return sorted(refs)


def test_a_sweep_is_drawn_from_the_grid(grids):
    grids.run("python", "-m", "stages.tools.sweep", "finetune.fine_tune_at", "finetune.learning_rate")
    points = pd.read_csv(grids.folder / "plots/sweep.csv")
    assert set(points["finetune.fine_tune_at"]) == {100, 120, 140}
    assert set(points["finetune.learning_rate"]) == {0.0005, 0.00001, 0.00005}
    assert (points["from"] < points["accuracy"]).all() and points["test images"].eq(40).all()
    assert (grids.folder / "plots/sweep.png").stat().st_size > 10_000
    assert grids.run("git", "status", "--porcelain", "plots") == ""
    assert "ERROR: none is no parameter" in grids.run("python", "-m", "stages.tools.sweep", "none", status=1)


def test_two_settings_are_compared_image_by_image(grids):
    first, second = names(grids)[:2]
    assert "40 predictions on 40 images" in grids.run("python", "-m", "stages.tools.compare", first, second)
    assert "ERROR: plots/predictions.csv of nothing:" in grids.run(
        "python", "-m", "stages.tools.compare", "nothing", first, status=1
    )


def test_repeats_run_once_and_say_how_far_the_numbers_spread(base):
    command = ("python", "-m", "stages.tools.repeat_seeds", "cut140", "--seeds", "2", "finetune.fine_tune_at=140")
    output = base.run(*command)
    assert {"split": 2, "train_frozen": 2, "finetune": 2}.items() <= collections.Counter(ran(output)).items()
    assert "standard deviation" in output and "finetuned accuracy" in output
    assert ran(base.run(*command)) == []
    message = base.run(*command[:-1], "finetune.fine_tune_at=141", status=1).splitlines()[-1]
    assert message.startswith("ERROR: experiment cut140-seed-1 has finetune.fine_tune_at=140")
    assert base.run("git", "status", "--porcelain", "params.yaml", "dvc.lock") == ""


@pytest.fixture
def s3(monkeypatch):
    """The address of a local S3 server with the bucket "bucket"."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="bucket")
    yield address
    server.stop()


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_what_is_pushed_and_pulled_need_not_be_run(base, tmp_path, where, request):
    first, clone = (Project(tmp_path / name) for name in ("first", "clone"))
    shutil.copytree(base.folder, first.folder, symlinks=True)
    add, *others = readme_block("dvc push")
    if where == "s3":
        first.run("bash", "-c", add.replace("/mnt/shared/images", "s3://bucket/images"))
        first.run("dvc", "remote", "modify", "shared", "endpointurl", request.getfixturevalue("s3"))
    else:
        first.run("bash", "-c", add.replace("/mnt/shared", str(tmp_path)))
    for line in others:
        first.run("bash", "-c", line)
    subprocess.run(["git", "clone", "-q", first.folder, clone.folder], check=True)
    for line in readme_block("dvc pull"):
        assert ran(clone.run("bash", "-c", line)) == []
    assert (clone.folder / "data/models/finetuned/saved_model.pb").exists()
    assert clone.run("git", "status", "--porcelain") == ""


def test_another_project_gets_a_registered_model_by_its_name(base, tmp_path):
    first, elsewhere = Project(tmp_path / "first"), Project(tmp_path / "elsewhere")
    shutil.copytree(base.folder, first.folder, symlinks=True)
    for line in readme_block("dvc push"):
        first.run("bash", "-c", line.replace("/mnt/shared", str(tmp_path)))
    for name in ("classifier", "phone"):
        first.run("gto", "register", name)
    subprocess.run(["git", "clone", "-q", "--bare", first.folder, tmp_path / "hosted.git"], check=True)
    shutil.rmtree(first.folder)
    elsewhere.folder.mkdir()
    elsewhere.run("dvc", "artifacts", "get", str(tmp_path / "hosted.git"), "phone")
    elsewhere.run(
        "dvc", "artifacts", "get", str(tmp_path / "hosted.git"), "classifier", "--rev", "v0.0.1", "-o", "model"
    )
    assert {path.name for path in (elsewhere.folder / "exported").iterdir()} == {
        "float16.tflite",
        "int8.tflite",
        "labels.txt",
        "model.onnx",
    }
    for name, copy in (("exported", "exported"), ("finetuned", "model")):
        for path in (base.folder / "data/models" / name).rglob("*.*"):
            relative = path.relative_to(base.folder / "data/models" / name)
            assert (elsewhere.folder / copy / relative).read_bytes() == path.read_bytes()
