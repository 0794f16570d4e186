"""Fixtures that several test files share."""

import os
import shutil

import numpy as np
import pytest
from filelock import FileLock

from stages.model import backend
from tests.support import ROOT, SMALL_RUN, Project, clone_project, clone_small, keras_mobilenet_v2


def pytest_configure(config):
    """Sets TensorFlow up as the scripts do, before a test module imports it, in the processes that run tests."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        backend.configure()


def pytest_xdist_auto_num_workers():
    """One more than there are processors, up to 4: slow tests often wait, for DVC, for disks and for each other."""
    return min((os.cpu_count() or 1) + 1, 4)


def pytest_collection_modifyitems(items):
    """Puts the files with slow tests first, so that none is left to run alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A .weights.h5 file of Keras's MobileNetV2 with random weights, through which signals and gradients pass."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras_mobilenet_v2()
    for layer in base.layers:
        layer.momentum = 0  # batch normalization: take over the statistics of the next batch
    base(np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)), training=True)
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    base.save_weights(path)
    return path


@pytest.fixture(scope="session")
def default_run(tmp_path_factory):
    """A clone that has run and been committed: the sample, the default network and weights. Tests change a copy."""

    def build(folder):
        folder.mkdir()
        project = clone_project(folder)
        project.set(SMALL_RUN)
        output = project.run("dvc", "repro")
        project.commit()
        return output

    return build_once(tmp_path_factory, "default run", build)  # the space is deliberate


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The same of a small network, a user's own images of three classes, and weights of their own.

    It ran in a temporary copy, as an experiment: a run in the workspace that is the same shows that both are.
    """

    settings = {
        "seed": 1,
        "train_frozen.epochs": 4,
        "train_frozen.early_stopping.monitor": "val_loss",
        "finetune.epochs": 4,
        "finetune.early_stopping.monitor": "val_accuracy",
        "finetune.early_stopping.patience": 4,  # all epochs, even if the frozen model is as good
        "finetune.schedule": "cosine",
        "finetune.warmup": 0.2,
        "finetune.mix": "auto",
    }

    def build(folder):
        project = clone_small(folder, {"ant": 10, "bee": 10, "cow": 20}, settings)
        project.run("git", "config", "user.name", "Test")
        project.run("git", "config", "user.email", "test@localhost")
        project.run("dvc", "add", "data/mine", "own.weights.h5")
        project.commit()
        output = project.run("dvc", "exp", "run", "--temp", "--name", "first")
        [ref] = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/first").split()
        project.run("git", "checkout", ref, "--", ".")
        project.run("dvc", "checkout")
        project.run("dvc", "exp", "remove", "first")
        project.commit()
        return output

    return build_once(tmp_path_factory, "small run", build)


def build_once(tmp_path_factory, name, build):
    """Returns the project that `build` makes, with what it printed; the processes of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    project, log = Project(base / name), base / f"{name}.log"
    with FileLock(base / f"{name}.lock"):
        if not log.exists():
            shutil.rmtree(project.folder, ignore_errors=True)
            log.write_text(build(project.folder))
    project.output = log.read_text()
    return project


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return clone_project(tmp_path / "project")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working folder with the default params.yaml."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def shallow(monkeypatch):
    """MobileNetV2 has three blocks, 30 layers: it is built in a moment, and random weights let gradients through."""
    monkeypatch.setattr("stages.model.mobilenet_v2.BLOCKS", [(1, 16, 1, 1), (6, 16, 2, 2)])
