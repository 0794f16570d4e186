"""Runs of a project that are held at a chosen moment and killed there, and what is left to compare afterwards."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import ruamel.yaml

from tests.support import ROOT, STAGES, environment

YAML = ruamel.yaml.YAML(typ="safe")  # reads and writes 2e-05 as a number, as DVC does
LOCKS = ["dvc.lock", "data/alpaca/dvc.lock", "data/weights/dvc.lock"]  # with MD5 of every output


@dataclass
class Moment:
    """A moment at which a stage is held: just before it does something to a path.

    Attributes:
        stage: name of the stage.
        event: Python's audit event: os.rename, which outputs are moved into their places with, os.mkdir or os.remove.
        path: what the path ends in; of os.rename, the new one.
        count: the how many-th time.
    """

    stage: str
    event: str
    path: str
    count: int = 1

    def environment(self, marker):
        """The environment of a process that is held: the file `marker` appears, and it waits until that is removed."""
        hold = {"HOLD": json.dumps(asdict(self)), "HOLD_MARKER": str(marker), "PYTHONPATH": str(ROOT / "tests/hold")}
        return environment() | hold


def wait_for(marker, process):
    """Waits until a process is held."""
    while not marker.exists():
        assert process.poll() is None, "it has ended before the moment at which it was to be held"
        time.sleep(0.02)


def interrupt(project, moment, how):
    """Runs the pipeline, kills it at a moment, and returns what it printed.

    Args:
        how: "everything", "dvc" or "stage" is killed, or "Ctrl-C" is pressed.
    """
    marker, log = Path(f"{project.folder}.held"), Path(f"{project.folder}.log")
    with log.open("w") as file:
        process = start(project, file, moment.environment(marker))
    wait_for(marker, process)
    end(process, how)
    marker.unlink()
    return log.read_text()


def start(project, output, env):
    """Starts DVC as the leader of a process group of its own, as a shell with job control does."""
    return subprocess.Popen(
        ["dvc", "repro", *STAGES],
        cwd=project.folder,
        env=env,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which pytest in the background ignores
    )


def end(process, how):
    """Ends a DVC process, what it runs, or both; afterwards none of them is left."""
    below = psutil.Process(process.pid).children(recursive=True)
    if how == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "dvc":
        process.kill()
    elif how == "stage":
        for child in below:
            child.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(300)
    _, left = psutil.wait_procs(below, timeout=300)
    assert left == [], how


def let_time_pass(project):
    """Makes files in .checkpoints that were not finished two hours old: until then they may be another run's."""
    for path in (project.folder / ".checkpoints").glob("*.tmp"):
        then = time.time() - 7200
        os.utime(path, (then, then))


def forget(project, *stages):
    """Lets DVC forget that these stages have ever run, so that it has no results to take in place of running."""
    shutil.rmtree(project.folder / ".dvc/cache/runs", ignore_errors=True)
    lock = read_lock(project)
    for stage in stages:
        del lock["stages"][stage]
    YAML.dump(lock, project.folder / "dvc.lock")


def read_lock(project, name="dvc.lock"):
    return YAML.load(project.folder / name)


def assert_the_same(project, undisturbed):
    """Every output has the bytes of an undisturbed run, and nothing else is left."""
    for name in LOCKS:
        assert read_lock(project, name) == read_lock(undisturbed, name)
    assert "up to date" in project.run("dvc", "status", *STAGES)
    assert [path for path in project.folder.rglob(".*.tmp") if ".dvc" not in path.parts] == []
    assert list((project.folder / ".checkpoints").iterdir()) == []
