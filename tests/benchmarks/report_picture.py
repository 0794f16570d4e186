"""Makes the pictures of pages that README.md and docs/ show: docs/report.png and docs/review.png.

    dvc repro && python -m tests.benchmarks.report_picture

They show the top of plots/report.html and of plots/review.html in headless Chromium, in 64 colours. A text in each PNG
has the hash of the files that the page is made of; tests/test_report_picture.py compares it with theirs.
"""

import argparse
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, PngImagePlugin

from tests.support import ROOT

PAGES = {"report": 2048, "review": 1060}  # names of pages and pictures, and height of the window in pixels
WIDTH, SCALE = 1280, 900 / 1280  # of the window in pixels, and of the picture to it
KEY = "template-sha256"
COLOURS = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder of the pages")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    arguments = parser.parse_args()
    for name, height in PAGES.items():
        picture = picture_of(name)
        save(photograph(arguments.plots / f"{name}.html", height, arguments.chromium), picture, template_hash(name))
        print(f"{picture}: {picture.stat().st_size:,} bytes")


def photograph(page, height, chromium):
    """Returns the top of a page as an image, in the size of the picture."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}"]
        options += [f"--window-size={WIDTH},{height}", f"--screenshot={shot}"]
        subprocess.run([chromium, *options, page.resolve().as_uri()], check=True, capture_output=True)
        return Image.open(shot).convert("RGB").resize(size_of(height), Image.Resampling.LANCZOS)


def save(image, path, digest):
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, digest)
    # The default method has no green of its own, which is in few pixels.
    image = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(path, optimize=True, pnginfo=text)


def picture_of(name):
    return ROOT / f"docs/{name}.png"


def size_of(height):
    """Returns width and height of a picture in pixels."""
    return round(WIDTH * SCALE), round(height * SCALE)


def template_hash(name):
    """Returns the SHA-256 of the template and of the script of a page, by their names."""
    digest = hashlib.sha256()
    for path in (ROOT / f"stages/reporting/{name}.{kind}" for kind in ("html.jinja", "js")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    main()
