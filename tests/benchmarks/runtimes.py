"""Runs the exported files of projects in the runtimes of others, and compares them with the SavedModel.

    python -m tests.benchmarks.runtimes FOLDER... [--only OpenVINO LiteRT] [--environments FOLDER]

Each FOLDER is a project in which export has run. Each runtime is installed, in the version named below, into an
environment of its own, and a script of tests/benchmarks/runners runs it in a process of its own, so one that crashes
is one row. Predicted are up to IMAGES test images of each project, and their negatives, which are unlike the training
images. Printed is a Markdown table with a row per runtime and file, over all projects:

- agreement: share of test images with the SavedModel's most probable class; largest difference of a probability;
- flags: share of test images and negatives with the same novelty flag (novelty above 1) as the SavedModel;
- remarks: what the script found out, such as the precision in which the runtime computes, or the error.

Needs pip, npm and Node. With --environments, environments stay in a folder and are found there again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support import ROOT

RUNNERS = ROOT / "tests/benchmarks/runners"
IMAGES = 100  # maximum number of test images of a project
SECONDS = 1800  # maximum time of one runtime on one file
BATCH = 32  # images in a batch of the SavedModel

PACKAGES = {  # of each environment, by its runner; the first one is the runtime
    "run_litert.py": ["ai-edge-litert==2.3.0"],
    "run_mediapipe.py": ["mediapipe==1.2.3"],
    "run_openvino.py": ["openvino==2026.4.1"],
    "run_opencv.py": ["opencv-python-headless==5.0.0.93"],
    "run_onnxruntime.py": ["onnxruntime==1.32.0"],
    "run_onnxruntime_web.mjs": ["onnxruntime-web@1.30.0"],
    "run_tflite_micro.py": ["tflite-micro==0.dev20261023182759"],
    "run_vela.py": ["ethos-u-vela==5.2.0"],
    "run_coremltools.py": ["coremltools==9.0", "tensorflow-cpu==2.21.0"],
}
EXPORTED = "data/models/exported"
FLOAT16, INT8, ONNX = (f"{EXPORTED}/{name}" for name in ("float16.tflite", "int8.tflite", "model.onnx"))
SAVED_MODEL = "data/models/classifier"


@dataclass(frozen=True)
class Trial:
    """A runtime with its settings, and the files that it is given."""

    title: str
    runner: str  # in RUNNERS
    files: tuple[str, ...]
    advice: str  # what to set
    setting: tuple[str, ...] = ()  # further arguments of the runner

    @property
    def version(self):
        """The runtime's package with its version."""
        return PACKAGES[self.runner][0].replace("==", " ").replace("@", " ")


BYTES = "int8: divide probabilities by 256"
TRIALS = [
    Trial("LiteRT Interpreter", "run_litert.py", (FLOAT16, INT8), BYTES, ("with XNNPACK",)),
    Trial(
        "LiteRT Interpreter without XNNPACK",
        "run_litert.py",
        (FLOAT16, INT8),
        "experimental_op_resolver_type=BUILTIN_WITHOUT_DEFAULT_DELEGATES",
        ("without XNNPACK",),
    ),
    Trial("LiteRT CompiledModel", "run_litert.py", (FLOAT16, INT8), BYTES, ("CompiledModel",)),
    Trial("MediaPipe image classifier", "run_mediapipe.py", (FLOAT16, INT8), "nothing; the second head is the novelty"),
    Trial("TensorFlow Lite Micro", "run_tflite_micro.py", (FLOAT16, INT8), f"arena_size; {BYTES}"),
    Trial("ONNX Runtime", "run_onnxruntime.py", (ONNX,), "nothing"),
    Trial("ONNX Runtime Web", "run_onnxruntime_web.mjs", (ONNX,), "nothing"),
    Trial("OpenVINO", "run_openvino.py", (ONNX, FLOAT16), "nothing"),
    Trial("OpenVINO", "run_openvino.py", (ONNX, FLOAT16), "INFERENCE_PRECISION_HINT: f32", ("f32",)),
    Trial("OpenCV DNN", "run_opencv.py", (ONNX,), "setInput(image): uint8, NHWC, no blobFromImage"),
    Trial("Vela", "run_vela.py", (FLOAT16, INT8), "carry labels.txt beside its file"),
    Trial("Core ML", "run_coremltools.py", (SAVED_MODEL,), "ImageType, and one signature in place of the folder"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    parser.add_argument("--only", metavar="TITLE", nargs="+", default=[""], help="runtimes whose titles begin so")
    parser.add_argument("--environments", metavar="FOLDER", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environments = (arguments.environments or place / "environments").resolve()
        references = [write_images(folder, place / f"{number}.npy") for number, folder in enumerate(arguments.folders)]
        for trial in TRIALS:
            if not trial.title.startswith(tuple(arguments.only)):
                continue
            executable = install(trial.runner, environments / Path(trial.runner).stem)
            for file in trial.files:
                results = [
                    attempt(trial, executable, folder / file, place / f"{number}.npy")
                    for number, folder in enumerate(arguments.folders)
                ]
                rows.append({"runtime": trial.title, "package": trial.version, "file": Path(file).name})
                rows[-1] |= {"what to set": trial.advice} | summarise(results, references)
                print(rows[-1], file=sys.stderr, flush=True)
    print(pd.DataFrame(rows).fillna("").to_markdown(index=False))


def write_images(folder, path):
    """Writes test images of a project, and then their negatives, to a .npy file; returns the SavedModel's outputs."""
    from stages.common import dataset
    from stages.model import saved_model

    split = dataset.load("test", folder / dataset.ROOT)
    rows = dataset.evenly_spaced(np.arange(len(split.labels)), IMAGES)
    images = np.concatenate([split.pixels[rows], 255 - split.pixels[rows]])
    np.save(path, images)
    serve = saved_model.load(folder / SAVED_MODEL).signatures["serving_uint8"]
    batches = [serve(images=images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def install(runner, environment):
    """Makes the environment of a runner, unless it is there; returns the interpreter and, for Node, its folder."""
    if runner.endswith(".mjs"):
        if not (environment / "node_modules").exists():
            environment.mkdir(parents=True)
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", "."]
            subprocess.run([*command, *PACKAGES[runner]], cwd=environment, check=True, stdout=sys.stderr)
        return "node", environment
    python = environment / "bin/python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        command = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*command, *PACKAGES[runner]], check=True, stdout=sys.stderr)
    return python, environment


def attempt(trial, executable, file, images):
    """Runs a runtime on a file: returns its outputs, an array each by its name, and its remarks or the error."""
    program, cwd = executable
    out = images.with_suffix(".json")
    out.unlink(missing_ok=True)
    command = [program, RUNNERS / trial.runner, file.resolve(), images, out, *trial.setting]
    try:
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {}, f"fails: more than {SECONDS} s"
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        return {}, f"fails: {lines[-1][:200]}"
    outputs = json.loads(out.read_text())
    return {name: np.array(values, np.float32) for name, values in outputs.items()}, result.stdout.strip()


def summarise(results, references):
    """The numbers of a row, over all projects, and the remarks that differ."""
    row = {}
    pairs = [(outputs, right) for (outputs, _), right in zip(results, references, strict=True) if outputs]
    if pairs:
        tests = [
            (outputs["probabilities"][: len(expected) // 2], expected[: len(expected) // 2])
            for outputs, expected in ((outputs, right["probabilities"]) for outputs, right in pairs)
        ]
        same = np.concatenate([values.argmax(axis=1) == expected.argmax(axis=1) for values, expected in tests])
        row["agreement"] = f"{same.mean():.1%}"
        row["largest difference"] = f"{max(np.abs(values - expected).max() for values, expected in tests):.2g}"
    flagged = [
        (outputs["novelty"].ravel() > 1, right["novelty"] > 1) for outputs, right in pairs if "novelty" in outputs
    ]
    if flagged:
        row["flags"] = f"{np.concatenate([values == expected for values, expected in flagged]).mean():.1%}"
    row["remarks"] = "; ".join(dict.fromkeys(remark.replace("\n", "; ") for _, remark in results if remark))
    return row


if __name__ == "__main__":
    main()
