"""The same bytes every time: elsewhere, after kills at any moment, a full disk and Ctrl-C."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import ruamel.yaml

from tests.support import Project, clone_project, make_images
from tests.test_pipeline import STAGES

pytestmark = pytest.mark.slow
SETTINGS = {
    "image_size": 32,
    "batch_size": 8,
    "train_frozen.epochs": 8,
    "finetune.epochs": 8,
    "train_frozen.early_stopping.monitor": "val_loss",
    "finetune.early_stopping.monitor": "val_accuracy",
    "train_frozen.early_stopping.patience": 8,
    "finetune.early_stopping.patience": 8,
    "finetune.schedule": "cosine",
    "data.images": "data/mine",
    "model.weights": "own.weights.h5",
}
LOCKS = ["dvc.lock", "data/alpaca/dvc.lock", "data/weights/dvc.lock"]  # with the MD5 of every output


def make_project(folder, weights):
    folder.mkdir(parents=True)
    project = clone_project(folder)
    make_images(folder / "data/mine", {"ant": 20, "bee": 20})
    shutil.copy(weights, folder / "own.weights.h5")
    project.set(SETTINGS)
    for lock in LOCKS:
        (folder / lock).unlink()  # those of the default parameters
    return project


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, weights):
    """A run from beginning to end, and how long each stage took with DVC around it, in seconds."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "project", weights)
    project.run("dvc", "add", "data/mine", "own.weights.h5")
    project.run("dvc", "repro", "data/alpaca/dvc.yaml", "data/weights/dvc.yaml:imagenet")
    project.seconds = {}
    for stage in STAGES:
        start = time.monotonic()
        project.run("dvc", "repro", "--single-item", stage)
        project.seconds[stage] = time.monotonic() - start
    project.commit()
    return project


def copy(project, folder):
    """A copy of a project that has run."""
    shutil.copytree(project.folder, folder, symlinks=True, copy_function=shutil.copy2)
    return Project(folder)


def forget(project, *stages):
    """Lets DVC forget that these stages have ever run, so that it has no results to take in place of running."""
    shutil.rmtree(project.folder / ".dvc/cache/runs", ignore_errors=True)
    lock = read_lock(project)
    for stage in stages:
        del lock["stages"][stage]
    yaml().dump(lock, project.folder / "dvc.lock")


def yaml():
    """Reads and writes 2e-05 as a number, as DVC does; one per call, since two threads cannot share one."""
    return ruamel.yaml.YAML(typ="safe")


def read_lock(project, name="dvc.lock"):
    return yaml().load(project.folder / name)


def assert_the_same(project, undisturbed):
    for lock in LOCKS:
        assert read_lock(project, lock) == read_lock(undisturbed, lock)
    assert "up to date" in project.run("dvc", "status", *STAGES)
    assert [path for path in project.folder.rglob(".*.tmp") if ".dvc" not in path.parts] == []
    assert list((project.folder / ".checkpoints").iterdir()) == []


def test_elsewhere_by_another_user_at_another_time_of_day(tmp_path, undisturbed, weights, monkeypatch):
    project = make_project(tmp_path / "deeper/a path with spaces", weights)
    mine = project.folder / "data/mine"
    mine.rename(tmp_path / "moved")
    for path in sorted((tmp_path / "moved").rglob("*.png"), reverse=True):  # in another order on disk, and newer
        (mine / path.parent.name).mkdir(parents=True, exist_ok=True)
        (mine / path.parent.name / path.name).write_bytes(path.read_bytes())
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    (home / ".keras/keras.json").write_text(
        '{"backend": "jax", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}'
    )
    (home / ".config/matplotlib").mkdir(parents=True)
    (home / ".config/matplotlib/matplotlibrc").write_text("font.size: 20\nsavefig.facecolor: red\nsavefig.dpi: 30\n")
    for name, value in {"HOME": home, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": 7}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("XDG_CONFIG_HOME", "MPLCONFIGDIR", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    old = os.umask(0o077)
    try:
        project.run("dvc", "add", "data/mine", "own.weights.h5")
        project.run("dvc", "repro", "--force", *STAGES)
    finally:
        os.umask(old)
    assert_the_same(project, undisturbed)


def test_in_a_temporary_copy_through_an_experiment(tmp_path, undisturbed):
    project = copy(undisturbed, tmp_path / "project")
    forget(project, *STAGES)
    project.commit()  # an experiment that changes nothing would not be kept
    project.run("dvc", "exp", "run", "--temp", "--name", "again")
    [ref] = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/again").split()
    assert yaml().load(project.run("git", "show", f"{ref}:dvc.lock")) == read_lock(undisturbed)


def test_another_seed_is_another_split_another_start_and_another_order(tmp_path, undisturbed):
    project = copy(undisturbed, tmp_path / "project")
    epochs = (project.folder / "data/training/frozen.csv").read_text()
    project.set({"seed": 43})
    project.stage("train_frozen")  # on the same split
    assert (project.folder / "data/training/frozen.csv").read_text() != epochs
    manifest = (project.folder / "data/splits/test/manifest.csv").read_text()
    project.stage("split")
    assert (project.folder / "data/splits/test/manifest.csv").read_text() != manifest


def start(project, *command):
    """Starts DVC as the leader of a process group of its own, as a shell with job control does."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(f"{project.folder}.log", "w") as log:
        return subprocess.Popen(
            ["dvc", *command], cwd=project.folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def log(project):
    return Path(f"{project.folder}.log").read_text()


def end(process, how):
    """Ends a DVC process, what it runs, or both, if it still runs; afterwards none of them is left."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        if how == "everything":
            os.killpg(process.pid, signal.SIGKILL)
        elif how == "dvc":
            process.kill()
        elif how == "stage":
            for child in below:
                child.kill()
        elif how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
    except (psutil.NoSuchProcess, ProcessLookupError):
        below = []
    process.wait(60)
    _, left = psutil.wait_procs(below, timeout=10)
    assert left == [], how


def repro(project):
    """Runs `dvc repro` of what is left. DVC writes dvc.lock in place: a kill in that very moment takes the README's line."""
    if not (project.folder / "dvc.lock").read_text().endswith("\n"):
        project.run("git", "checkout", "dvc.lock")
    return project.run("dvc", "repro", *STAGES)


def kill_and_run_on(project, undisturbed, stage, ways, seed):
    moments = random.Random(seed)
    for how in ways:
        forget(project, stage)
        process = start(project, "repro", "--single-item", stage)
        time.sleep(moments.uniform(0, undisturbed.seconds[stage]))
        end(process, how)
        assert "Traceback" not in log(project)
        repro(project)
        assert_the_same(project, undisturbed)


def test_killed_at_any_moment_the_next_run_ends_in_the_same_bytes(tmp_path, undisturbed):
    def run(stage):
        ways = (
            ["everything", "dvc", "stage", "everything"]
            if stage in ("train_frozen", "finetune")
            else ["everything", "dvc"]
        )
        kill_and_run_on(copy(undisturbed, tmp_path / stage), undisturbed, stage, ways, STAGES.index(stage))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, STAGES))


@pytest.mark.parametrize(("stage", "last", "how"), [("train_frozen", 2, "everything"), ("finetune", 10, "Ctrl-C")])
def test_training_goes_on_after_its_last_finished_epoch(stage, last, how, undisturbed, tmp_path):
    project = copy(undisturbed, tmp_path / "project")
    forget(project, stage)
    process = start(project, "repro", "--single-item", stage)
    while f"epoch {last}:" not in log(project):
        assert process.poll() is None
        time.sleep(0.01)
    end(process, how)
    assert "Traceback" not in log(project)
    output = repro(project)
    reached = int(
        re.search(r"going on after epoch (\d+)", output)[1]
    )  # it may have ended one more before it was stopped
    assert last <= reached < last + 3
    assert f"epoch {reached}:" not in output and f"epoch {reached + 1}:" in output
    assert_the_same(project, undisturbed)


ROOMS = [0.05, 12, 40]  # MB


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path, undisturbed):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", folder]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        project = copy(undisturbed, folder / "project")
        forget(project, *STAGES)
        for path in ("data/splits", "data/models", "data/training", "data/evaluation", "data/audit"):
            shutil.rmtree(project.folder / path)
        used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
        failed = []
        for room in ROOMS:
            subprocess.run(["mount", "-o", f"remount,size={used + int(room * 1e6)}", folder], check=True)
            output = project.run("dvc", "repro", *STAGES, status=255)
            assert "No space left on device" in output and "Traceback" not in output
            failed += re.findall("failed to reproduce '(.*)'", output)
        assert set(failed) == {"split", "train_frozen", "finetune"}
        subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
        repro(project)
        assert_the_same(project, undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
