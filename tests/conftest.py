"""Fixtures that several test files share."""

import os
import re
import shutil
import time

import numpy as np
import pytest
from filelock import FileLock

from stages.model import backend
from tests.support import (
    OWN_IMAGES,
    OWN_SETTINGS,
    ROOT,
    SMALL_RUN,
    Project,
    clone_project,
    clone_small,
    experiment_names,
    identify,
    keras_mobilenet_v2,
    queue_logs,
)

# Files in the order in which they begin: the first two make the runs that others take copies of, the third needs none.
SLOWEST = [
    "test_experiments",
    "test_pipeline",
    "test_distribution",
    "test_reproducibility",
    "test_cross_validate",
    "test_readme",
]


def pytest_configure(config):
    """Sets TensorFlow up as the scripts do, before a test module imports it, in the processes that run tests."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        backend.configure()


def pytest_xdist_auto_num_workers():
    """One more than there are processors, up to 4: slow tests often wait, for DVC, for disks and for each other."""
    return min((os.cpu_count() or 1) + 1, 4)


def pytest_collection_modifyitems(items):
    """Puts the slowest files first, then others with slow tests, so that none is left to run alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item):
        name = item.path.stem
        return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST) + (item.path not in slow)

    items.sort(key=turn)


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
    """The same of a small network, a user's own images of two classes, and weights of their own.

    It ran in a temporary copy, as an experiment: a run in the workspace that is the same shows that both are.
    """

    def build(folder):
        project = clone_small(folder, OWN_IMAGES, OWN_SETTINGS)
        identify(project)
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


@pytest.fixture(scope="session")
def grid_run(small_run, tmp_path_factory):
    """A copy of `small_run` with two grids of experiments, which two workers in the background have run.

    The README's experiments have these settings, too: tests/test_readme.py takes their results from this run's cache.
    """

    def build(folder):
        project = small_run.copy(folder)
        project.run("dvc", "exp", "run", "--queue", "-S", "finetune.epochs=4,5,20", "plot")
        project.run("dvc", "exp", "run", "--queue", "-S", "finetune.learning_rate=0.00001", "plot")
        project.run("dvc", "queue", "start", "-j", "2")
        while len(experiment_names(project)) < 4:  # an experiment has its name once it has succeeded
            assert "ERROR" not in "".join(queue_logs(project)), queue_logs(project)
            time.sleep(0.5)
        while re.search("Queued|Running", project.run("dvc", "queue", "status")):
            time.sleep(0.2)
        return "".join(queue_logs(project))

    return build_once(tmp_path_factory, "grid run", build)


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
