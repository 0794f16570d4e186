"""The same bytes every time: elsewhere, after kills at the worst moments, a full disk and Ctrl-C."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages import split, train_frozen
from stages.common.cli import UserError
from stages.model import mobilenet_v2
from stages.training import phase
from tests.interruptions import Moment, assert_the_same, forget, interrupt, let_time_pass, read_lock
from tests.support import SMALL_BLOCKS, STAGES, Project

pytestmark = pytest.mark.slow
KILLS = [  # in the order in which DVC runs the stages
    (Moment("split", "os.rename", "data/splits/validation"), "everything"),  # of its outputs, one is in its place
    (Moment("split", "os.rename", "data/splits/summary.json"), "dvc"),  # all but one
    (Moment("train_frozen", "os.rename", ".train1"), "everything"),  # the second view is not in its place yet
    (Moment("train_frozen", "os.rename", ".npz", count=3), "stage"),  # the third state is not saved yet
    (Moment("finetune", "os.rename", "-0", count=2), "stage"),  # the validation images', after the training images'
    (Moment("finetune", "os.rename", ".npz", count=2), "Ctrl-C"),
    (Moment("finetune", "os.remove", ".npz"), "everything"),  # all is written, only the state is left
    (Moment("evaluate", "os.rename", "plots/roc"), "everything"),
    (Moment("plot", "os.rename", "plots/mistakes.png"), "dvc"),
    (Moment("export", "os.mkdir", "data/models/.exported.tmp"), "Ctrl-C"),  # nothing is written yet
    (Moment("audit", "os.rename", "plots/label_audit.png"), "dvc"),
    (Moment("report", "os.rename", "data/models/README.md"), "everything"),
]


@dataclass
class Survivor:
    """A project elsewhere, of another user, whose runs were killed, one after the other, until the last one ended.

    Attributes:
        outputs: what the runs printed.
    """

    project: Project
    outputs: list[str]


def become_another_user(home, monkeypatch):
    """Sets a home folder, whose settings would change models and charts, a time zone, a language and a hash seed."""
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


@pytest.fixture(scope="module")
def survivor(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("survivor")
    project = small_run.copy(folder / "deeper/a path with spaces")
    forget(project, *STAGES)
    with pytest.MonkeyPatch.context() as patch:
        become_another_user(folder / "home", patch)
        old = os.umask(0o077)
        try:
            outputs = []
            for moment, how in KILLS:
                outputs.append(interrupt(project, moment, how))
                let_time_pass(project)
            outputs.append(project.run("dvc", "repro", *STAGES))
        finally:
            os.umask(old)
    return Survivor(project, outputs)


def test_killed_in_every_stage_the_next_run_ends_in_the_bytes_of_an_undisturbed_run_elsewhere(survivor, small_run):
    # `small_run` ran in a temporary copy, of another path, user, language, time zone and hash seed.
    assert_the_same(survivor.project, small_run)


def test_a_run_that_is_killed_prints_no_traceback(survivor):
    assert [output for output in survivor.outputs if "Traceback" in output] == []


@pytest.mark.parametrize(("kill", "computed"), [(2, ["view 2 of 2"]), (4, [])])
def test_views_that_are_complete_are_not_computed_again(survivor, kill, computed):
    stage, goes_on = KILLS[kill][0].stage, survivor.outputs[kill + 1]
    printed = goes_on.split(f"Running stage '{stage}'")[1].split("Running stage")[0]
    assert re.findall("^view . of 2", printed, flags=re.MULTILINE) == computed


@pytest.mark.parametrize(("kill", "last"), [(3, 2), (5, 5), (6, 8)])
def test_training_goes_on_after_its_last_finished_epoch(survivor, kill, last):
    stage, goes_on = KILLS[kill][0].stage, survivor.outputs[kill + 1]
    printed = goes_on.split(f"Running stage '{stage}'")[1].split("Running stage")[0]
    assert f"resuming after epoch {last}," in printed
    epochs = {"train_frozen": range(1, 5), "finetune": range(5, 9)}[stage]
    left = [epoch for epoch in epochs if epoch > last]
    assert [int(epoch) for epoch in re.findall(r"^ +(\d+)  ", printed, re.MULTILINE)] == left


@pytest.fixture
def project(small_run, tmp_path, monkeypatch):
    """A copy of `small_run`, in which stages run in this process."""
    monkeypatch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)
    project = small_run.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    return project


def test_the_order_and_age_of_files_on_disk_do_not_matter(project, tmp_path):
    images = project.folder / "data/mine"
    images.rename(tmp_path / "moved")
    for path in sorted((tmp_path / "moved").rglob("*.png"), reverse=True):
        (images / path.parent.name).mkdir(parents=True, exist_ok=True)
        (images / path.parent.name / path.name).write_bytes(path.read_bytes())
    shutil.rmtree(project.folder / "data/splits")
    split.main()
    assert "up to date" in project.run("dvc", "status", "split")


def test_another_seed_is_another_split_another_start_and_another_order(project):
    epochs = (project.folder / "data/training/train_frozen.csv").read_text()
    project.set({"seed": 43})
    train_frozen.main()  # on the same split
    assert (project.folder / "data/training/train_frozen.csv").read_text() != epochs
    manifest = (project.folder / "data/splits/test/manifest.csv").read_text()
    split.main()
    assert (project.folder / "data/splits/test/manifest.csv").read_text() != manifest


def swap_weights(project):
    """Reverses the bytes of the weights file, which the second call restores."""
    path = project.folder / "own.weights.h5"
    path.write_bytes(path.read_bytes()[::-1])


EDITS = {
    "parameters": (
        lambda project: project.set({"seed": 2}),
        lambda project: project.set({"seed": 1}),
        "seed was 1 and",
    ),
    "weights": (swap_weights, swap_weights, "own.weights.h5 changed while this stage ran"),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_is_edited_while_it_trains_ends_the_stage_and_once_restored_it_resumes(project, monkeypatch, capsys, what):
    edit, restore, named = EDITS[what]
    weights = Path("data/models/frozen/variables/variables.data-00000-of-00001")
    undisturbed = weights.read_bytes()
    shutil.rmtree("data/models/frozen")
    fit = phase.Training.fit
    with monkeypatch.context() as patch, pytest.raises(UserError, match=named):
        patch.setattr(phase.Training, "fit", lambda *arguments: (fit(*arguments), edit(project))[0])
        train_frozen.main()
    assert not weights.exists()
    restore(project)
    capsys.readouterr()
    train_frozen.main()
    assert "resuming after epoch 4" in capsys.readouterr().out
    assert weights.read_bytes() == undisturbed


# Free disk space in MB at which a stage is the first to fail; finetune writes with the code of train_frozen.
FREE_SPACE = {"split": 0.05, "train_frozen": 1.2}


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", folder]).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_one_line_and_the_next_run_resumes(small_run, small_disk, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # the space is for the outputs
    project = small_run.copy(small_disk / "project")
    forget(project, *STAGES)
    for path in ("data/splits", "data/models", "data/training"):
        shutil.rmtree(project.folder / path)
    used = sum(path.stat().st_blocks * 512 for path in small_disk.rglob("*") if path.is_file())
    for stage, free in FREE_SPACE.items():
        subprocess.run(["mount", "-o", f"remount,size={used + int(free * 1e6)}", small_disk], check=True)
        output = project.run("dvc", "repro", "train_frozen", status=255)
        assert re.search("No space left on device|on that disk: free some", output) and "Traceback" not in output
        assert re.findall("failed to reproduce '(.*)'", output) == [stage]
    subprocess.run(["mount", "-o", "remount,size=1g", small_disk], check=True)
    project.run("dvc", "repro", "train_frozen")
    lock, undisturbed = read_lock(project), read_lock(small_run)
    for stage in FREE_SPACE:
        assert lock["stages"][stage] == undisturbed["stages"][stage]
