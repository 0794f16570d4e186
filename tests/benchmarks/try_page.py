"""Tries the model on plots/try.html in headless Chromium, as a person would, and compares the answers with predict's.

    dvc repro && python -m tests.benchmarks.try_page [--shots FOLDER]

Chooses all test images, saves the table, and prints the largest differences of probability and novelty from the
SavedModel's on what predict decodes, and the time per image. Then drops, pastes and photographs made-up images (turned
by EXIF, transparent, in grey, large, broken), watches a made-up camera, works by the keyboard, looks for requests and
markup, and runs axe-core at 360 and 1280 pixels, in light and dark. Needs Node.js and Chromium; npm fetches
playwright-core and axe-core into a temporary folder.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages import try_page
from stages.common import params
from stages.decoding.decode import decode
from stages.model import network, saved_model
from tests.benchmarks.page import install, read_options
from tests.support import amplify

LARGEST_DIFFERENCE = 0.02  # of a probability
LONGEST = 500  # milliseconds of processor time per image
LARGEST_PAGE = 8e6  # bytes
CLASSES = ["cat", "<b>bold</b>", "=1+1", "q\"uo'te,", "two\nlines", "a\u202eb", "__proto__", "</script><!--", "&lt;"]
CLASSES += ["dog", "constructor", "-->"]


def main():
    options = read_options(__doc__)
    page = Path(try_page.PAGE).resolve()
    tested = [str(Path(params.read("data").data.images, path).resolve()) for path in test_paths()]
    model = saved_model.load(try_page.SAVED_MODEL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder)
        odd = write_odd(folder)
        write_hostile(folder / "hostile.html")
        settings = {"page": str(page), "hostile": str(folder / "hostile.html"), "images": tested, "odd": odd}
        settings |= {"shots": options.shots, "chromium": options.chromium, "folder": name}
        (folder / "settings.json").write_text(json.dumps(settings))
        script = Path(__file__).with_suffix(".mjs")
        result = subprocess.run(
            ["node", script, folder / "settings.json"], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(result.stdout)
        problems = found["problems"] + compare(folder / "tested.csv", tested, model, "test")
        problems += compare(folder / "odd.csv", odd[:-1], model, "made-up")
    size, per_image = page.stat().st_size, found["processor"] / len(tested)
    print(
        f"{size:,} bytes, loaded in {found['loaded']:.0f} ms; per test image {per_image:.0f} ms of processor time, "
        f"{found['milliseconds'] / len(tested):.0f} ms passed"
    )
    if size > LARGEST_PAGE:
        problems.append("the page is too large")
    if per_image > LONGEST:
        problems.append("an image takes too long")
    print("\n".join(problems) or "no problems")
    sys.exit(bool(problems))


def test_paths():
    return pd.read_csv("data/splits/test/manifest.csv", dtype=str, keep_default_na=False)["path"]


def compare(table, paths, model, kind):
    """Compares a saved table with the SavedModel's answers, prints how far they are apart, and returns the problems."""
    saved = pd.read_csv(table, keep_default_na=False)
    size, background = int(model.image_size), model.background.numpy().decode()
    pixels = np.stack([decode(path, size, background=background)[2] for path in paths])
    outputs = model.signatures["serving_uint8"](images=pixels)
    probabilities = saved.iloc[:, -outputs["probabilities"].shape[1] :].to_numpy()
    if len(saved) != len(paths) or [*saved["path"]] != [Path(path).name for path in paths]:
        return [f"the table has {len(saved)} of {len(paths)} {kind} images, or others"]
    differences = np.abs(probabilities - outputs["probabilities"]).max(axis=1)
    novelty = outputs["novelty"].numpy()
    worst = paths[differences.argmax()]
    print(
        f"{len(paths)} {kind} images: the largest difference of a probability is {differences.max():.4f} ({worst}), "
        f"the median {np.median(differences):.5f}; of novelty, {np.abs(saved['novelty'] - novelty).max():.4f}; "
        f"{((saved['novelty'] > 1) != (novelty > 1)).sum()} are unlike the training images in only one"
    )
    return [f"{worst} differs by {differences.max():.4f}"] if differences.max() > LARGEST_DIFFERENCE else []


def write_odd(folder):
    """Writes made-up images of many kinds, and a broken one at last, and returns their paths."""
    y, x = np.mgrid[:480, :640]
    photo = np.stack([x * 255 / 639, y * 255 / 479, (np.sin(x / 9) + np.cos(y / 7) + 2) * 60], axis=2).astype(np.uint8)
    image = Image.fromarray(photo)
    paths = {name: folder / name for name in ("plain.png", "grey.png", "small.gif", "wide.webp", "large.jpg")}
    image.save(paths["plain.png"])
    image.convert("L").save(paths["grey.png"])
    image.resize((40, 30)).save(paths["small.gif"])
    image.resize((1500, 300)).save(paths["wide.webp"], quality=90)
    image.resize((4000, 3000), Image.Resampling.BICUBIC).save(paths["large.jpg"], quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        paths[f"turned{orientation}"] = folder / f"turned{orientation}.jpg"
        image.crop((0, 0, 501, 333)).save(paths[f"turned{orientation}"], exif=exif, quality=95)
    paths["clear"] = folder / "clear.png"
    Image.merge("RGBA", [*image.split(), image.split()[0]]).save(paths["clear"])
    paths["broken"] = folder / "broken.jpg"
    paths["broken"].write_bytes(b"\xff\xd8\xff nothing")
    return [str(path) for path in paths.values()]


def write_hostile(path):
    """Writes the page of a network with random weights, whose class names are hostile, and with a threshold."""
    plain = network.build(64, len(CLASSES))
    amplify(plain)
    with tempfile.TemporaryDirectory() as folder:
        saved_model.save(plain, CLASSES, 1.0, Path(folder) / "first")
        values = {"set_threshold": 0.01, "novelty_threshold": 0.001}
        saved_model.copy(f"{folder}/first", Path(folder) / "model", values)
        try_page.write(saved_model.load(f"{folder}/model"), path)


if __name__ == "__main__":
    main()
