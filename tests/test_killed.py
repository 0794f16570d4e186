"""Runs that are killed, interrupted or out of disk: the next `dvc repro` goes on, and ends in the bytes of an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import clone_project, make_pictures

pytestmark = pytest.mark.slow
STAGES = ["split", "train_frozen", "finetune", "evaluate", "plot", "audit"]
SETTINGS = {"image_size": 32, "batch_size": 8, "train_frozen.epochs": 4, "finetune.epochs": 4,
            "train_frozen.early_stopping.monitor": "val_loss", "finetune.early_stopping.monitor": "val_accuracy",
            "finetune.schedule": "cosine", "data.images": "data/mine", "model.weights": "own.weights.h5"}
LOCKS = ["dvc.lock", "data/alpaca/dvc.lock", "data/weights/dvc.lock"]


def make_project(folder, weights):
    project = clone_project(folder)
    make_pictures(project.folder / "data/mine", {"ant": 20, "bee": 20})
    shutil.copy(weights, project.folder / "own.weights.h5")
    project.set(SETTINGS)
    project.run("dvc", "add", "data/mine", "own.weights.h5")
    for lock in LOCKS:
        (project.folder / lock).unlink()  # those of the default parameters
    project.commit()
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, weights):
    """A run from beginning to end, and how long each stage took with DVC around it, in seconds."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"), weights)
    project.run("dvc", "repro", "data/alpaca/dvc.yaml", "data/weights/dvc.yaml:imagenet")
    project.seconds = {}
    for stage in STAGES:
        start = time.monotonic()
        project.run("dvc", "repro", "--single-item", stage)
        project.seconds[stage] = time.monotonic() - start
    return project


def start(project, *command):
    """Starts DVC as the leader of a process group of its own, as a shell with job control does."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(project.folder / "../log", "w") as log:
        return subprocess.Popen(["dvc", *command], cwd=project.folder, env=environment, stdout=log, stderr=log,
                                start_new_session=True)


def end(process, how):
    """Ends a DVC process, what it runs, or both; afterwards none of them is left."""
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if how == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "dvc":
        process.kill()
    elif how == "stage":
        for child in below:
            child.kill()
    elif how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == [], how


def finish(project, undisturbed):
    """Runs what is left to do and compares."""
    output = project.run("dvc", "repro")
    for lock in LOCKS:
        assert (project.folder / lock).read_bytes() == (undisturbed.folder / lock).read_bytes()
    assert "up to date" in project.run("dvc", "status", *STAGES)
    assert list(project.folder.glob("[!.]*/**/.*.tmp")) == []
    assert list((project.folder / ".checkpoints").iterdir()) == []
    return output


def test_killed_at_any_moment_the_next_run_ends_in_the_same_bytes(tmp_path, undisturbed, weights):
    (tmp_path / "project").mkdir()
    project = make_project(tmp_path / "project", weights)
    project.run("dvc", "repro", "data/alpaca/dvc.yaml", "data/weights/dvc.yaml:imagenet")
    moments = random.Random(0)
    outputs = []
    for stage in STAGES:
        for how in ("everything", "dvc", "stage", "everything", "Ctrl-C"):
            process = start(project, "repro", "--single-item", "--force", stage)
            time.sleep(moments.uniform(0, undisturbed.seconds[stage]))
            end(process, how)
            outputs.append((tmp_path / "log").read_text())
            assert "Traceback" not in outputs[-1], outputs[-1]
        outputs.append(project.run("dvc", "repro", stage))
    finish(project, undisturbed)
    assert any("going on after epoch" in output for output in outputs)


@pytest.mark.parametrize("stage", ["train_frozen", "finetune"])
def test_training_goes_on_after_its_last_finished_epoch(stage, undisturbed, tmp_path, weights):
    project = undisturbed
    last = {"train_frozen": 2, "finetune": 6}[stage]
    process = start(project, "repro", "--single-item", "--force", stage)
    while f"epoch {last}:" not in (project.folder / "../log").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    end(process, "everything")
    output = project.stage("plot", status=1)
    assert "is of a training that was stopped: run `dvc repro`" in output or stage not in output
    output = project.run("dvc", "repro", "--single-item", "--force", stage)
    assert f"going on after epoch {last}" in output
    assert f"epoch {last}:" not in output and f"epoch {last + 1}:" in output
    assert "up to date" in project.run("dvc", "status", *STAGES)
