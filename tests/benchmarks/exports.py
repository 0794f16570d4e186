"""Exports of other tools, and how each ends in `split`."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import clone_project, environment

PATHS = ("images", "labels")  # parameters that are paths below the folder of an export


@dataclass(frozen=True)
class Export:
    """An export, the settings for it, and how it is to end."""

    folder: str  # below that of the package
    counts: Mapping[str, int] | None  # images per class; None: an error
    says: str = ""  # text in what is printed
    images: str = "."  # the folder of images, below `folder`
    table: str = ""  # the table of labels, below `folder`; empty: none
    settings: Mapping[str, object] = field(default_factory=dict)  # further parameters, by their names below `data.`


def check_all(exports):
    """Prints how each export ends, of {folder: exports}; returns 1 if any ends otherwise than expected, else 0."""
    failed = total = 0
    with tempfile.TemporaryDirectory() as place:
        project = clone_project(Path(place))
        params = (project.folder / "params.yaml").read_text()
        for folder, of_package in exports.items():
            for export in of_package:
                (project.folder / "params.yaml").write_text(params)
                counts, output = split(project, folder / export.folder, export)
                expected = counts == export.counts and export.says in output
                settings = ", ".join(f"data.{name}={value}" for name, value in settings_of(export).items())
                print(f"{'as expected' if expected else 'NOT AS EXPECTED'}: {folder.name} {export.folder}: {settings}")
                print("    " + output.replace(f"{folder}/", "").replace("\n", "\n    "), flush=True)
                total, failed = total + 1, failed + (not expected)
    print(f"{total - failed} of {total} exports end as expected.")
    return int(failed > 0)


def settings_of(export):
    table = {"labels": export.table} if export.table else {}
    return {"images": export.images, **table, **export.settings}


def split(project, folder, export):
    """Runs `split` on an export: returns the images per class, None after an error, and the notes or the error."""
    places = {name: str((folder / value).resolve()) for name, value in settings_of(export).items() if name in PATHS}
    project.set({"image_size": 32} | {f"data.{name}": x for name, x in (settings_of(export) | places).items()})
    command = [sys.executable, "-m", "stages.split"]
    result = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, text=True)
    if result.returncode:
        return None, result.stderr.strip()
    summary = json.loads((project.folder / "data/splits/summary.json").read_text())
    counts = sum((Counter(summary[name]) for name in ("train", "validation", "test")), Counter())
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return dict(counts), "\n".join([", ".join(f"{name} {count}" for name, count in counts.items()), *lines])
