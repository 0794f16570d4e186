"""`split` on a folder with everything that is wrong in folders of images."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages.common import dataset
from tests.decoding import odd_files
from tests.support import ROOT, Project, make_images

ORDINARY = 5  # images of another class
IGNORED = [".hidden.png", ".DS_Store", "Thumbs.db", "thumbs.DB", "Desktop.ini", "__MACOSX/._a.png", ".git/x.png"]
IGNORED += ["@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", ".AppleDouble/a.jpg", "$RECYCLE.BIN/a.jpg", "lost+found/a", "Icon\r"]
IGNORED += [
    "System Volume Information/a",
    "Thumbs.db:encryptable",
    "ehthumbs.db",
    "a.jpg:Zone.Identifier",
    "Picasa.ini",
]


def write(folder, contents):
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def make_folder(folder):
    """Makes the class "odd" of a folder of images, beside the class "other".

    Returns:
        (dict, dict): {path: (colours, tolerance)} of the images that can be read, and {path: words of the reason} of
        the others.
    """
    make_images(folder, {"other": ORDINARY})
    outside = make_images(folder.parent / "outside", {"images": 1}, seed=1) / "images"
    odd = folder / "odd"
    good, bad = odd_files.good_files() | odd_files.beyond_the_snippet(), odd_files.bad_files()
    write(odd, {path: file.content for path, file in good.items()})
    write(odd, {path: content for path, (content, _) in bad.items()})
    for place in (folder, odd):
        write(place, dict.fromkeys(IGNORED, b"no image"))
    write(folder, {"read me.txt": b"belongs to no class"})
    odd_files.write_links(odd, outside)
    readable = {path: (file.colours, file.tolerance) for path, file in good.items()}
    readable |= dict.fromkeys(("link.png", "link to link"), (odd_files.COLOURS, 0))
    readable["linked folder/000.png"] = (None, 0)
    unreadable = {path: reason for path, (_, reason) in bad.items()}
    unreadable |= odd_files.write_broken_links(odd)
    unreadable |= odd_files.write_special_files(odd)
    unreadable |= odd_files.write_without_permission(odd)
    return (
        {f"odd/{path}": expected for path, expected in readable.items()},
        {f"odd/{path}": reason for path, reason in unreadable.items()},
    )


def snapshot(folder):
    """Mode, time of the last change, size and content of everything in a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        readable = path.is_file() and not path.is_symlink() and status.st_mode & 0o400
        found[path] = (status.st_mode, status.st_mtime_ns, status.st_size, path.read_bytes() if readable else None)
    return found


def run_split(project, on_unreadable):
    project.set({"data.images": "mine", "image_size": 64, "data.on_unreadable": on_unreadable})
    return subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,  # what reads a device or follows a circle never ends
        capture_output=True,
        text=True,
        errors="replace",
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`split` has run on the folder, once to stop at what cannot be read and once to skip it."""
    project = Project(tmp_path_factory.mktemp("bad_files"))
    (project.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    images = project.folder / "mine"
    readable, unreadable = make_folder(images)
    before = snapshot(images)
    error, skip = run_split(project, "error"), run_split(project, "skip")
    return SimpleNamespace(
        folder=project.folder,
        readable=readable,
        unreadable=unreadable,
        error=error,
        skip=skip,
        before=before,
        after=snapshot(images),
    )


@pytest.fixture
def packed(runs, monkeypatch):
    """{path: pixels} of all splits."""
    monkeypatch.chdir(runs.folder)
    splits = [dataset.load(name) for name in dataset.SPLITS]
    return {path: split.pixels[row] for split in splits for row, path in enumerate(split.manifest["path"])}


@pytest.fixture
def reasons(runs):
    """{path: reason} of what is listed as unreadable, in its order."""
    table = pd.read_csv(runs.folder / "data/splits/unreadable.csv", encoding_errors="surrogateescape")
    return table.set_index("path")["reason"].to_dict()


def test_the_folder_holds_at_least_forty_kinds(runs):
    assert len(runs.readable) >= 40 and len(runs.unreadable) >= 25


def test_every_readable_image_is_packed_and_nothing_else(runs, packed):
    assert {path for path in packed if not path.startswith("other/")} == set(runs.readable)


def test_images_are_packed_as_a_viewer_shows_them(runs, packed):
    wrong = {}
    for path, (colours, tolerance) in runs.readable.items():
        seen = packed[path][[16, 16, 48, 48], [16, 48, 16, 48]].astype(float)
        if colours is not None and np.abs(seen - np.asarray(colours)).max() > tolerance:
            wrong[path] = seen.tolist()
    assert wrong == {}


def test_every_unreadable_file_is_listed_with_its_reason(runs, reasons):
    assert list(reasons) == sorted(runs.unreadable)
    assert {path: reasons[path] for path, words in runs.unreadable.items() if words not in reasons[path]} == {}
    assert all(reasons.values())


def test_reasons_name_no_temporary_file(reasons):
    assert not any("/" in reason for reason in reasons.values())


def test_unreadable_files_are_counted(runs):
    assert json.loads((runs.folder / "data/splits/summary.json").read_text())["unreadable"] == len(runs.unreadable)


def test_by_default_it_stops_and_names_the_first_twenty_in_one_line(runs):
    assert runs.error.returncode == 1
    [line] = [line for line in runs.error.stderr.splitlines() if line.startswith("ERROR")]
    assert f" {len(runs.unreadable)} of {len(runs.unreadable) + len(runs.readable) + ORDINARY} images" in line
    assert f"and {len(runs.unreadable) - 20} more" in line
    for index, path in enumerate(sorted(runs.unreadable)):
        assert (f"mine/{path} (" in line) == (index < 20)


def test_no_warning_is_printed(runs):
    assert runs.skip.returncode == 0, runs.skip.stderr
    # libtiff, a library below Pillow, writes of a truncated file past Python's streams.
    assert not any(word in runs.skip.stderr for word in ("Warning", "Traceback", "PIL")), runs.skip.stderr


def test_no_file_of_the_folder_is_changed(runs):
    assert runs.before == runs.after
