"""Makes the picture of the report that the README shows, docs/report.png.

    dvc repro && python -m tests.benchmarks.report_picture

It shows the top of plots/report.html in headless Chromium, in 64 colours. A text in the PNG has the hash of the files
that the page is made of; tests/test_report_picture.py compares it with theirs.
"""

import argparse
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, PngImagePlugin

from tests.support import ROOT

PICTURE = ROOT / "docs/report.png"
KEY = "template-sha256"
VIEWPORT, SIZE = (1280, 2048), (900, 1440)  # pixels
COLOURS = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("plots/report.html"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}"]
        options += [f"--window-size={VIEWPORT[0]},{VIEWPORT[1]}", f"--screenshot={shot}"]
        command = [arguments.chromium, *options, arguments.page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        image = Image.open(shot).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, template_hash())
    # The default method has no green of its own, which is in few pixels.
    image = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(arguments.picture, optimize=True, pnginfo=text)
    print(f"{arguments.picture}: {arguments.picture.stat().st_size:,} bytes")


def template_hash():
    """Returns the SHA-256 of the template of the page and of what it includes, by their names."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "stages/reporting").glob("report.*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    main()
