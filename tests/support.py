"""What several tests share: made-up images and splits, and a clone of the project to run commands in."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from stages.common.dataset import Split

ROOT = Path(__file__).parent.parent


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


def make_split(count, classes, seed=0, size=32):
    """A split of random pixels in memory; the classes take turns."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
    manifest = pd.DataFrame({"path": map(str, range(count)), "label": np.arange(count) % len(classes)})
    return Split(pixels, manifest, classes)


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
