"""What several tests share: made-up images, random weights, and a clone of the project to run commands in."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.model import backend

ROOT = Path(__file__).parent.parent
backend.configure()  # as the scripts do, before anything imports TensorFlow


def pytest_collection_modifyitems(items):
    """Puts the files with slow tests first, so that none is left to run alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def make_images(folder, counts, size=24, seed=0):
    """Writes random PNG images, each class of another colour: {"class name": how many}."""
    rng = np.random.default_rng(seed)
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            blobs = rng.integers(0, 100, (6, 6, 3), np.uint8)
            blobs[..., number % 3] += 150
            image = Image.fromarray(blobs).resize((size, size), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{index:03}.png")
    return folder


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


@dataclass
class Project:
    """A committed copy of this working tree in a folder of its own."""

    folder: Path

    def run(self, *command, status=0):
        """Runs a command, checks its exit status and returns its standard output and error together."""
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        result = subprocess.run(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert result.returncode == status, result.stdout
        return result.stdout

    def stage(self, name, status=0):
        return self.run("python", "-m", f"stages.{name}", status=status)

    def set(self, changes):
        """Changes parameters: {"section.key": value}; a value of None removes the key."""
        path = self.folder / "params.yaml"
        tree = yaml.safe_load(path.read_text())
        for dotted, value in changes.items():
            *sections, key = dotted.split(".")
            section = tree
            for name in sections:
                section = section[name]
            section[key] = value
            if value is None:
                del section[key]
        path.write_text(yaml.safe_dump(tree))

    def commit(self):
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "-qm", "test")


def clone_project(folder):
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.run("git", "init", "-q")
    project.commit()
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
