import os
import shutil
import subprocess
import sys
import time

import psutil
import pytest

from stages.common import cli, files
from stages.common.cli import UserError
from tests.support import ROOT


def test_a_user_error_is_one_line_and_exit_status_1(capsys):
    def main():
        raise cli.UserError("a: wrong\n  because")

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "ERROR: a: wrong because\n"


def test_a_file_that_may_not_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()

    def main():
        with files.replacing(tmp_path / "file/output"):
            pass

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error and error.count("\n") == 1


def test_outputs_appear_together_at_the_end_and_replace_old_ones(tmp_path):
    folder, file = tmp_path / "out/folder", tmp_path / "out/file"
    folder.mkdir(parents=True)
    (folder / "old").touch()
    with files.replacing(folder, file) as (new_folder, new_file):
        new_folder.mkdir()
        new_file.write_text("new")
        assert (folder / "old").exists() and not file.exists()
    assert [path.name for path in folder.iterdir()] == []
    assert file.read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["file", "folder"]


def test_a_failure_leaves_the_old_outputs_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "file", tmp_path / "folder") as (file, folder):
        folder.mkdir()
        file.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".folder.tmp/half").touch()
    with files.replacing(tmp_path / "folder") as [folder]:
        folder.mkdir()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_scratch_folder_is_empty_and_goes(tmp_path):
    (tmp_path / ".scratch.tmp").mkdir()
    (tmp_path / ".scratch.tmp/left by a killed run").touch()
    with files.scratch(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_in_a_quiet_block_shows_only_if_it_fails(capfd):
    with cli.quiet():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(UserError), cli.quiet():  # says enough by itself
        os.write(2, b"chatter\n")
        raise UserError("wrong")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError), cli.quiet():
        os.write(2, b"chatter\n")
        raise ValueError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "chatter\nafter\n"


@pytest.mark.parametrize("shell", ["sh", "bash"])  # of which some stay above the command and some give way to it
@pytest.mark.parametrize("killed", ["dvc", "shell"])
def test_a_stage_ends_with_the_dvc_that_runs_it(shell, killed):
    if not (path := shutil.which(shell)):
        pytest.skip(f"no {shell} here")
    stage = (
        f"{sys.executable} -c 'import time; from stages.common import command; print(1, flush=True); time.sleep(60)'"
    )
    dvc = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({stage!r}, shell=True, executable={path!r})"],
        cwd=ROOT,
        env={**os.environ, "SHELL": path, "DVC_STAGE": "split"},
        stdout=subprocess.PIPE,
    )
    dvc.stdout.readline()
    below = psutil.Process(dvc.pid).children(recursive=True)
    time.sleep(0.5)  # for the watch to begin
    (dvc if killed == "dvc" else below[0]).kill()
    dvc.wait(10)
    assert psutil.wait_procs(below, timeout=10)[1] == []
