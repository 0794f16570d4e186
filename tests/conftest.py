"""Fixtures that several test files share."""

import shutil

import numpy as np
import pytest

from stages.model import backend
from tests.support import ROOT, Project, clone_project

backend.configure()  # as the scripts do, before anything imports TensorFlow


def pytest_collection_modifyitems(items):
    """Puts the files with slow tests first, so that none is left to run alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A .weights.h5 file of Keras's MobileNetV2 with random weights, through which signals and gradients pass."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None)
    for layer in base.layers:
        layer.momentum = 0  # batch normalisation: take over the statistics of the next batch
    base(np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)), training=True)
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    base.save_weights(path)
    return path


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
