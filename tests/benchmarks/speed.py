"""Compares the pipeline with the notebook that it grew from, the tutorial's variant of that, and the arithmetic alone.

    python -m tests.benchmarks.speed [FOLDER] [--alternations 3] [--without KIND]... [--out FOLDER] [-S key=value]...

FOLDER holds images, one sub-folder per class; default: data.images of params.yaml. -S sets a parameter, for all.
--without leaves experiment, notebook, tutorial or floor out: on a large folder they take hours, and tutorial all
memory.
In processes of their own, in turns of which every second is in reverse order:

ours: `dvc repro` of a fresh copy of this working tree in which only images and weights are in place;
experiment: `dvc exp run -S finetune.fine_tune_at=100` after that;
notebook, tutorial, floor: see baselines.py.

speed.json has all numbers, their medians and the ratios, speed.png the parts. "wall", "cpu", "training" and "parts" are
seconds, "peak" is the memory of the largest process in MB. "speed" is training and validation images over the median of
the epochs of a phase but its first; "before_first_epoch" is what else passed to the end of that, our views with it, so
that "speed" compares us with nobody where views are stored: "training" does. "training" goes from
the start of either phase to the end of its last epoch: with floor, that is the arithmetic alone, and our wall time is
divided by it. "DVC" is what no stage accounts for, with the few milliseconds per stage that measuring takes.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from tests.support import clone_project

EXPERIMENT = "finetune.fine_tune_at=100"
PHASES = ("train_frozen", "finetune")
OURS = {"ours": ["repro"], "experiment": ["exp", "run", "-S", EXPERIMENT]}  # what DVC is told
BASELINES = ("notebook", "tutorial", "floor")
COLOURS = {
    "import": "#bbbbbb",
    "build": "#888888",
    "split": "#56b4e9",
    "train_frozen": "#0072b2",
    "finetune": "#d55e00",
    "evaluate": "#009e73",
    "plot": "#e69f00",
    "export": "#cc79a7",
    "audit": "#999933",
    "review": "#882255",
    "report": "#aa4499",
    "DVC": "#333333",
    "exit": "#666666",
}
MARK = re.compile(r"(?:Running stage '|phase )(\w+)")  # DVC's, and those of baselines.py
# Stands for `python`, in dvc.yaml too. Small, since the peak of a process starts at what the one that began it held.
METER = """
import json, os, sys, time
start = time.monotonic()
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, used = os.wait4(child, 0)
with open(os.environ["METER_LOG"], "a") as file:
    print(json.dumps({"command": sys.argv[1:], "start": start, "end": time.monotonic(),
                      "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss}), file=file)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?")
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--without", metavar="KIND", action="append", choices=["experiment", *BASELINES], default=[])
    parser.add_argument("--out", type=Path, help="default: a new temporary folder")
    parser.add_argument("-S", dest="settings", metavar="key=value", action="append", default=[])
    arguments = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, value in (setting.split("=", 1) for setting in arguments.settings)}
    if arguments.folder:
        settings["data.images"] = str(arguments.folder.resolve())
    out = arguments.out or Path(tempfile.mkdtemp(prefix="speed-"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        os.environ["DVC_SITE_CACHE_DIR"] = str(place / "site cache")  # what DVC knows of hashes goes with the copies
        meter = write_meter(place)
        prepared = clone_project(place / "prepared")
        prepared.set(settings)
        p = yaml.safe_load((prepared.folder / "params.yaml").read_text())
        if min(p[phase]["epochs"] for phase in PHASES) < 2:
            parser.error("the speed of epochs takes two of each phase: the first one is left out")
        prepared.run("python", "-m", "dvc", "repro", *map(str, sorted(prepared.folder.glob("data/*/dvc.yaml"))))
        prepared.commit()
        baselines = shutil.copytree(prepared.folder, place / "baselines", symlinks=True)
        turns = []
        for turn in range(arguments.alternations):
            fresh = shutil.copytree(prepared.folder, place / f"turn {turn}", symlinks=True)
            turns.append(take_turn(turn, arguments.without, meter, baselines, fresh))
            shutil.rmtree(fresh)
    numbers = {
        "images": turns[0]["ours"]["images"],
        "params": p,
        "machine": {
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            **{name: metadata.version(name) for name in ("tensorflow", "keras", "dvc")},
        },
        "medians": medians(turns),
        "ratios": ratios(turns),
        "turns": turns,
    }
    (out / "speed.json").write_text(json.dumps(numbers, indent=2) + "\n")
    show(numbers)
    chart(numbers).savefig(out / "speed.png", dpi=120)
    print(f"{out / 'speed.json'}\n{out / 'speed.png'}")


def write_meter(place):
    """Writes a `python` that notes what each process of it took, and returns its path."""
    (place / "meter.py").write_text(METER)
    (place / "bin").mkdir()
    meter = place / "bin" / "python"
    meter.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(place / "meter.py")])} "$@"\n')
    meter.chmod(0o755)
    return meter


def take_turn(turn, without, meter, baselines, fresh):
    """Returns what each kind took in this turn: {kind: what `measure` returns}. The first turn begins with ours."""
    ours, others = ([kind for kind in kinds if kind not in without] for kinds in (OURS, BASELINES))
    taken = {"tensorflow": measure(meter, fresh, "-c", "from stages.model import backend; backend.configure()")}
    for kind in ours + others if turn % 2 == 0 else others[::-1] + ours:
        if kind in OURS:
            taken[kind] = measure(meter, fresh, "-m", "dvc", *OURS[kind])
            shutil.copy(
                fresh / "data/splits/summary.json", baselines / "data/splits"
            )  # where floor reads how many there are
        else:
            taken[kind] = measure(meter, baselines, "-m", "tests.benchmarks.baselines", kind)
        print(f"turn {turn + 1}: {kind} {taken[kind]['wall']:.1f} s", flush=True)
    return taken


def measure(meter, folder, *command):
    """Runs `python` with a command in `folder`; returns a dict of what it took, see the head of this file."""
    log = folder / ".meter.tmp"
    environment = {
        **os.environ,
        "PATH": f"{meter.parent}:{os.environ['PATH']}",
        "METER_LOG": str(log),
        "PYTHONUNBUFFERED": "1",
    }  # lines are to come when they are printed
    lines = []
    with subprocess.Popen(
        [meter, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            lines.append((time.monotonic(), line.rstrip()))
    if process.returncode:
        sys.exit("\n".join([*(line for _, line in lines[-40:]), f"ERROR: {shlex.join(command)} failed, see above"]))
    *inner, whole = map(json.loads, log.read_text().splitlines())
    log.unlink()
    stages = {entry["command"][1].removeprefix("stages."): entry for entry in inner}
    taken = {"wall": whole["end"] - whole["start"], "cpu": whole["cpu"], "peak": megabytes(whole["peak"])}

    phase, begins, ends = "import", {"import": whole["start"]}, {}
    for when, line in lines:
        if found := MARK.match(line):
            phase = found[1]
            begins[phase] = when
        elif re.match(r"epoch \d+:| *\d+( +\d+\.\d{4}){4}", line):
            ends.setdefault(phase, []).append(when)
        elif line.startswith("images "):
            taken["images"] = int(line.split()[1])
    if stages:
        split = json.loads((folder / "data/splits/summary.json").read_text())
        taken["images"] = sum(sum(split[name].values()) for name in ("train", "validation"))
        taken["parts"] = {name: entry["end"] - entry["start"] for name, entry in stages.items()}
        taken["parts"]["DVC"] = taken["wall"] - sum(taken["parts"].values())
        taken["part_cpu"] = {name: entry["cpu"] for name, entry in stages.items()}
        taken["part_cpu"]["DVC"] = taken["cpu"] - sum(taken["part_cpu"].values())
        taken["part_peak"] = {name: megabytes(entry["peak"]) for name, entry in stages.items()}
    else:
        taken["parts"] = dict(zip(begins, np.diff([*begins.values(), whole["end"]]).tolist(), strict=True))
    if ends and min(map(len, ends.values())) > 1:
        taken["epochs"] = {phase: np.diff(times).tolist() for phase, times in ends.items()}
        steady = {phase: statistics.median(seconds) for phase, seconds in taken["epochs"].items()}
        taken["speed"] = {phase: taken["images"] / steady[phase] for phase in ends}
        taken["before_first_epoch"] = {phase: ends[phase][0] - begins[phase] - steady[phase] for phase in ends}
        taken["training"] = sum(ends[phase][-1] - begins[phase] for phase in ends)
    return taken


def megabytes(peak):
    return peak / (1024 if sys.platform == "linux" else 1024**2)


def medians(values):
    """Returns the median of numbers, of lists place by place, and of dicts key by key."""
    if isinstance(values[0], dict):
        return {key: medians([value[key] for value in values]) for key in values[0]}
    return np.median(values, axis=0).tolist()


def ratios(turns):
    """Returns {"ours / notebook": {"wall": [median, lowest, highest], ...}, ...} of the ratios within each turn."""
    rows = []
    for turn in turns:
        row = {}
        for baseline in [baseline for baseline in BASELINES if baseline in turn]:
            taken = {**turn[baseline], "wall": turn[baseline]["training" if baseline == "floor" else "wall"]}
            for what in ("wall", "cpu", "peak"):
                row[f"ours / {baseline}", what] = turn["ours"][what] / taken[what]
                if baseline != "floor" and "experiment" in turn:  # floor has the frozen phase, too
                    row[f"experiment / {baseline}", what] = turn["experiment"][what] / taken[what]
            for phase in PHASES:
                row[f"ours / {baseline}", f"{phase} speed"] = turn["ours"]["speed"][phase] / taken["speed"][phase]
        rows.append(row)
    table = {}
    for pair, what in sorted(rows[0]):
        values = [row[pair, what] for row in rows]
        table.setdefault(pair, {})[what] = [statistics.median(values), min(values), max(values)]
    return table


def show(numbers):
    """Prints the medians, and the ratios with their range."""
    taken = pd.json_normalize(list(numbers["medians"].values())).set_axis(list(numbers["medians"]))
    spread = pd.DataFrame(numbers["ratios"]).map("{0[0]:.2f} ({0[1]:.2f} to {0[2]:.2f})".format, na_action="ignore")
    for table in (taken.drop(columns=taken.filter(regex="^epochs")), spread):
        print(table.T.to_string(float_format="{:.1f}".format, na_rep=""), end="\n\n")


def chart(numbers):
    """Draws what each kind took, part by part."""
    labels = {
        "ours": "ours, dvc repro",
        "experiment": f"ours, dvc exp run\n{EXPERIMENT}",
        "notebook": "notebook",
        "tutorial": "tutorial\n(cached)",
        "floor": "floor\n(arithmetic)",
    }
    bars = {kind: numbers["medians"][kind]["parts"] for kind in labels if kind in numbers["medians"]}
    if "floor" in bars:
        bars["floor"] = {phase: bars["floor"][phase] for phase in PHASES}
    turns = len(numbers["turns"])
    longest = max(sum(parts.values()) for parts in bars.values())
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for row, parts in enumerate(bars.values()):
        left = 0
        for name, seconds in parts.items():
            axes.barh(row, seconds, left=left, color=COLOURS[name], edgecolor="white", label=name)
            if seconds > longest / 25:
                axes.text(left + seconds / 2, row, f"{seconds:.0f}", ha="center", va="center", color="white")
            left += seconds
        axes.text(left, row, f" {left:.1f} s", va="center")
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(handles.values(), handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set_yticks(range(len(bars)), [labels[kind] for kind in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * longest)
    axes.set_xlabel("seconds")
    axes.set_title(
        f"{numbers['images']} training and validation images of {numbers['params']['image_size']} pixels, "
        f"{numbers['machine']['cores']} cores, " + (f"medians of {turns} turns" if turns > 1 else "one turn")
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
