"""Measures the speed of `stages.tools.predict` against a loop that decodes with Pillow and calls the same SavedModel.

    python -m tests.benchmarks.predict_speed FOLDER [--model data/models/classifier] [--images 2000] [--turns 5]

The images of FOLDER are repeated up to --images. predict and the loop alternate, each in a process of its own. Prints
images per second, with the start of Python and TensorFlow and from the loaded model on, and the ratio in each turn.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

KINDS = ("predict", "bare")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--model", default="data/models/classifier")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        {"predict": predict, "bare": bare}[arguments.child](arguments.folder, arguments.model)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(path.resolve() for path in arguments.folder.rglob("*") if path.is_file())
        for number, path in enumerate(itertools.islice(itertools.cycle(files), arguments.images)):
            Path(folder, f"{number:06}{path.suffix}").symlink_to(path)
        rows = []
        for turn in range(1, arguments.turns + 1):
            for kind in KINDS if turn % 2 else KINDS[::-1]:
                start = time.time()
                loaded = child(kind, folder, arguments.model)
                for since, seconds in {"start": time.time() - start, "loaded": time.time() - loaded}.items():
                    rows.append({"turn": turn, "since": since, "kind": kind, "speed": arguments.images / seconds})
    table = pd.DataFrame(rows).pivot(index=["since", "turn"], columns="kind", values="speed")
    table["ratio"] = table["predict"] / table["bare"]
    print(table.to_string(float_format="{:.2f}".format))
    print(table.groupby("since")["ratio"].agg(["median", "min", "max"]).to_string(float_format="{:.2f}".format))


def child(kind, folder, model):
    """Runs one of KINDS in a process of its own and returns when its model was loaded, in seconds since the epoch."""
    command = [sys.executable, "-m", "tests.benchmarks.predict_speed", folder, "--model", model, "--child", kind]
    result = subprocess.run(command, check=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    return float(result.stderr.splitlines()[-1])  # below TensorFlow's messages


def predict(folder, model):
    """The command."""
    from stages.model import backend

    backend.start()
    from stages.model import saved_model
    from stages.tools import predict

    load = saved_model.load

    def timed_load(folder):
        loaded = load(folder)
        print(time.time(), file=sys.stderr)
        return loaded

    saved_model.load = timed_load
    sys.argv = ["predict", str(folder), "--model", model, "--format", "csv"]
    predict.main()


def bare(folder, model):
    """A script as a user would write it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    loaded = tf.saved_model.load(model)
    print(time.time(), file=sys.stderr)
    size, serve = int(loaded.image_size), loaded.signatures["serving_uint8"]
    paths = sorted(folder.iterdir())
    for start in range(0, len(paths), 32):
        batch = [
            Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            for path in paths[start : start + 32]
        ]
        print(serve(images=np.stack(batch))["probabilities"].numpy())


if __name__ == "__main__":
    main()
