"""What several tests share: made-up images and splits, and a clone of the project to run commands in."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages.common import cli
from stages.common.dataset import Split

ROOT = Path(__file__).parent.parent
STAGES = ["split", "train_frozen", "finetune", "evaluate", "plot", "vega", "export", "audit", "review", "report"]
# A network of 30 layers with few channels in place of MobileNetV2: it is built, traced and saved in half the time.
SMALL_BLOCKS = [(1, 8, 1, 1), (2, 8, 2, 2)]
SMALL_RUN = {
    "image_size": 32,
    "batch_size": 8,
    "train.views": 2,
    "train_frozen.epochs": 2,
    "finetune.epochs": 3,
    "train_frozen.passes": 2,
    "finetune.passes": 1,
    "train_frozen.learning_rate": 0.005,
    "finetune.learning_rate": 0.0005,
    "train_frozen.warmup": 0,
    "finetune.warmup": 0,
    "train_frozen.schedule": "constant",
    "finetune.schedule": "constant",
    "finetune.averaging": 0,
    "finetune.keep": "finetuned",
}
# What the runs of small networks share: a reader's own images, and settings in which no default is left.
OWN_IMAGES = {"cat": 20, "dog": 20}
OWN_SETTINGS = {
    "seed": 1,
    "train_frozen.epochs": 4,
    "train_frozen.early_stopping.monitor": "val_loss",
    "finetune.epochs": 4,
    "finetune.early_stopping.monitor": "val_accuracy",
    "finetune.early_stopping.patience": 4,  # all epochs, even if the frozen model is as good
    "finetune.schedule": "cosine",
    "finetune.warmup": 0.2,
    "finetune.averaging": 0.3,
    "finetune.keep": "better",
}
# Harmless names with what programs take for their own: HTML, templates, Markdown, spreadsheets and terminals.
MARKED_NAMES = ["<b>bold</b>", "</script><i id=x>", "<!--<script>", '"onload=x', "{{name}}", "{refresh_tag}"]
MARKED_NAMES += ["{% raw %}", "<DVC_METRIC_DATA>", "two\nlines", "a|b `c` *d*", "$x$ ${y}", "[e](f) ~~g~~", "&lt;"]
MARKED_NAMES += ["=1+1", "@someone", "#1 GH-1 x/y#1", "https://e.org", "www.e.org", "a@e.org", ":smile:"]
MARKED_NAMES += ["[red]x[/red]", "\x1b[31mred", "\u202eleft", "zero\u200bwidth"]
PLAIN_NAMES = ["Käse & Brot (süß)", "it's", "小狗", "> 5 mm", "007"]  # as people have them: no chart changes them


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
    numbers = np.arange(count)
    manifest = pd.DataFrame({"path": map(str, numbers), "label": numbers % len(classes)}).assign(
        group=numbers, duplicates=numbers
    )
    return Split(pixels, manifest, classes)


def keras_mobilenet_v2(size=32):
    """Keras's own MobileNetV2 without top, with random weights."""
    import keras

    return keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)


def environment():
    """The environment of this process, in which `python` and `dvc` are those of this Python."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@dataclass
class Project:
    """A committed copy of this working tree in a folder of its own."""

    folder: Path

    def run(self, *command, status=0):
        """Runs a command, checks its exit status and returns its standard output and error together."""
        result = subprocess.run(
            command, cwd=self.folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
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

    def copy(self, folder):
        """Copies the project with all that it has made, .dvc included, into a folder that does not exist yet."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

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


def clone_small(folder, counts, changes):
    """A clone with a small network in place of MobileNetV2, random weights, and a user's own images.

    Args:
        folder: a path that does not exist yet.
        counts: {"class name": number of images}.
        changes: parameters besides those of SMALL_RUN, as for Project.set.
    """
    folder.mkdir(parents=True)
    project = clone_project(folder)
    code = folder / "stages/model/mobilenet_v2.py"
    text, count = re.subn(r"^BLOCKS = .*$", f"BLOCKS = {SMALL_BLOCKS}", code.read_text(), flags=re.MULTILINE)
    assert count == 1
    code.write_text(text)
    make_images(folder / "data/mine", counts)
    save_small_weights(folder / "own.weights.h5")
    own = {"data.images": "data/mine", "model.weights": "own.weights.h5", "finetune.fine_tune_at": 18}
    project.set(SMALL_RUN | own | changes)
    return project


def save_small_weights(path):
    """Saves random weights of the small network through which signals and gradients pass."""
    import keras

    from stages.model import mobilenet_v2

    with mock.patch.object(mobilenet_v2, "BLOCKS", SMALL_BLOCKS):
        keras.utils.set_random_seed(0)
        base = mobilenet_v2.mobilenet_v2(32)
    amplify(base)
    save_weights(path, base)


def save_weights(path, base):
    """Saves the weights of a base as Keras saves those of its MobileNetV2, with batch normalizations of scale 1."""
    import h5py

    from stages.model.mobilenet_v2 import unfold

    weights, numbers = iter(unfold(base.get_weights())), Counter()
    with h5py.File(path, "w") as file:
        for layer in base.layers:
            if layer.weights:
                own = "depthwise_conv2d" if layer.name.endswith("depthwise") else "conv2d"
                for kind, count in ((own, 1), ("batch_normalization", 4)):
                    name = f"layers/{kind}_{numbers[kind]}" if numbers[kind] else f"layers/{kind}"
                    numbers[kind] += 1
                    for number in range(count):
                        file[f"{name}/vars/{number}"] = next(weights)


def amplify(network):
    """Triples the outputs of convolutions, so that signals do not fade in a network with random weights."""
    for weight in network.weights:
        if len(weight.shape) == 4:
            weight.assign(3 * weight)


def dump_dom(page):
    """Opens a page in headless Chromium and returns its DOM as HTML, after its scripts have run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium on PATH")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=profile", "--virtual-time-budget=10000"]
    command = [chromium, *options, "--dump-dom", page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def identify(project):
    """Gives git a name for the commits and tags of a project."""
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")


def experiment_names(project):
    """Names of all experiments of DVC that have succeeded."""
    return sorted(project.run("git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/*").split())


def queue_logs(project):
    """What the runs of queued experiments have printed until now."""
    return [path.read_text() for path in project.folder.glob(".dvc/tmp/exps/run/*/*.out")]


def ran(output):
    """The stages that DVC says it has run."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def run_command(main, name, arguments, capsys, status=0):
    """Runs a tool's main() in this process, where os._exit raises; returns standard output and standard error."""
    sys.argv = [name, *map(str, arguments)]
    try:
        cli.run(main)
        code = 0
    except SystemExit as end:
        code = end.code
    output, errors = capsys.readouterr()
    assert code == status, errors
    return output, errors


def principal_components(features, count):
    """Values of the novelty for saved_model.copy, fitted on features [N, D]: `count` components, not more than 64.

    The threshold is the median residual of the same images.
    """
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean = units.mean(axis=0)
    components = np.zeros((64, features.shape[1]), np.float32)
    components[:count] = np.linalg.svd(units - mean, full_matrices=False)[2][:count]
    explained = (units - mean) @ components.T @ components
    threshold = np.median(np.linalg.norm(units - mean - explained, axis=1))
    return {"novelty_mean": mean, "novelty_components": components, "novelty_threshold": threshold}
