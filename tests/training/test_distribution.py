"""Training on several devices: two logical ones of one process, and two processes over the loopback interface."""

import json
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from stages import finetune, split, train_frozen
from stages.common.cli import UserError
from stages.model import mobilenet_v2, saved_model
from stages.training import distribution
from tests.interruptions import Moment, wait_for
from tests.support import SMALL_BLOCKS, clone_small, environment

EPOCHS = {"train_frozen.epochs": 2, "finetune.epochs": 4}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A project that one process has trained, on 27 images, so that the last step has 3."""
    folder = tmp_path_factory.mktemp("alone") / "project"
    project = clone_small(folder, {"ant": 22, "bee": 23}, EPOCHS | {"augmentation.rotation": 0.1})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)
        for stage in (split, train_frozen, finetune):
            stage.main()
    return project


@pytest.fixture
def together(alone, tmp_path):
    """A copy of it that two workers are to train in."""
    project = alone.copy(tmp_path / "together")
    project.set({"train.strategy": "multi_worker"})
    return project


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(stage, *folders, hold=None):
    """Starts a stage as a worker in each of the projects; the first is held at a moment and until a file is removed.

    Args:
        hold: (Moment, path of the file), or None.
    """
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(len(folders))]}
    workers = []
    for index, project in enumerate(folders):
        env = hold[0].environment(hold[1]) if hold and index == 0 else environment()
        env["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, "-m", f"stages.{stage}"]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        workers.append(subprocess.Popen(command, cwd=project.folder, text=True, env=env, **output))
    return workers


def ended(processes):
    """Waits for them; returns their exit statuses and what they printed."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def numbers(project, stage):
    """The numbers of a history, float [epochs, 5]."""
    columns = ["accuracy", "val_accuracy", "loss", "val_loss", "learning_rate"]
    return pd.read_csv(project.folder / f"data/training/{stage}.csv")[columns].to_numpy()


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns(alone, together):
    (together.folder / "data/training/train_frozen.csv").unlink()
    shutil.rmtree(together.folder / "data/models/frozen")
    statuses, outputs = ended(start("train_frozen", together, together))
    assert statuses == [0, 0], outputs
    assert "epoch  " in outputs[0] and "epoch  " not in outputs[1]
    np.testing.assert_allclose(numbers(together, "train_frozen"), numbers(alone, "train_frozen"), atol=1e-4)


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_other_and_the_next_run_goes_on(alone, together, tmp_path):
    (together.folder / "data/training/finetune.csv").unlink()
    shutil.rmtree(together.folder / "data/models/finetuned")
    second_state, held = Moment("finetune", "os.rename", ".npz", count=2), tmp_path / "held"
    for dying in (0, 1):
        workers = start("finetune", together, together, hold=(second_state, held))
        wait_for(held, workers[0])
        workers[dying].send_signal(signal.SIGKILL)
        workers[dying].wait()
        held.unlink()
        statuses, outputs = ended(workers)
        assert statuses[dying] == -signal.SIGKILL and statuses[1 - dying] == 1, outputs
        assert outputs[1 - dying].splitlines()[-1].startswith("ERROR: another worker has stopped"), outputs
        assert "Traceback" not in outputs[1 - dying]
        assert ("resuming after epoch 3," in outputs[0]) == (dying == 1)  # the run before saved one state
    statuses, outputs = ended(start("finetune", together, together))
    assert statuses == [0, 0] and "resuming after epoch 5," in outputs[0], outputs
    np.testing.assert_allclose(numbers(together, "finetune"), numbers(alone, "finetune"), atol=1e-4)
    saved_model.load(together.folder / "data/models/finetuned")  # raises an error unless it is complete


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"finetune.learning_rate": 0.1}, {"train.views": 3}])
def test_workers_that_start_from_different_things_are_told(together, tmp_path, changes):
    other = together.copy(tmp_path / "other")
    other.set(changes)
    statuses, outputs = ended(start("finetune", together, other))
    assert statuses == [1, 1], outputs
    for output in outputs:
        assert output.splitlines()[-1].startswith("ERROR: the workers do not start from the same")


@pytest.mark.parametrize(
    "config", [None, "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_a_missing_or_wrong_tf_config_is_explained(config, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config:
        monkeypatch.setenv("TF_CONFIG", config)
    with (
        pytest.raises(UserError, match="train.strategy is multi_worker, which needs"),
        distribution.scope("multi_worker"),
    ):
        pass


@pytest.mark.slow
def test_two_devices_of_one_process_learn_what_one_learns(alone, tmp_path):
    project = alone.copy(tmp_path / "mirrored")
    project.set({"train.strategy": "mirrored"})
    (project.folder / "data/training/finetune.csv").unlink()
    code = (
        "import os, runpy; os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0';"  # which two GPUs would not use; see backend.py
        "import tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0];"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2);"
        "mirrored = tf.distribute.MirroredStrategy;"
        "tf.distribute.MirroredStrategy = lambda: mirrored(['CPU:0', 'CPU:1']);"
        "runpy.run_module('stages.finetune', run_name='__main__')"
    )
    project.run("python", "-c", code)
    np.testing.assert_allclose(numbers(project, "finetune"), numbers(alone, "finetune"), atol=1e-4)
