"""Measures precision and recall of the advice on series in file names.

    python -m tests.benchmarks.series [FOLDER...]

On made-up naming schemes with series and without, and on folders of images, one sub-folder per class, which count as
schemes without. Where there is a line, the images are divided again with the pattern that it suggests, and no test
image may then share a series with train.
"""

import argparse
import re
import uuid
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common import params
from stages.common.cli import printable
from stages.labels.files import find_files
from stages.splits import assign, groups, series

SOURCES, MEMBERS = 12, 6  # per class and per source
MONTHS = [f"{year}{month:02}{day:02}" for year in (2019, 2021) for month in (3, 11) for day in (4, 17, 28)]


def time(rng):
    return f"{rng.integers(24):02}{rng.integers(60):02}{rng.integers(60):02}"


def digest(rng, length=32):
    return rng.bytes(16).hex()[:length]


def code(rng):
    return str(uuid.UUID(bytes=rng.bytes(16)))


# Names of class c (cat, dog), source s (from 0 in each class), member m and a generator, r; n counts all images.
# The first were written before stages/splits/series.py, the unseen ones after it or after its second version.
SERIES = {
    "frames of a clip": lambda c, s, m, r, n: f"{c}/clip{s}_frame_{m:04}",
    "windows of a slide": lambda c, s, m, r, n: f"{c}/slide{s}_x{m % 3 * 80}_y{m // 3 * 60}",
    "versions by word": lambda c, s, m, r, n: f"{c}/{s:03}{['', '_flip', '_rot', '_dark', '_crop', '_blur'][m]}",
    "patient and slice": lambda c, s, m, r, n: f"{c}/patient{s:02}_slice{m}",
    "index": lambda c, s, m, r, n: f"{c}/cow{s}_{m}",
    "burst": lambda c, s, m, r, n: f"{c}/IMG_{MONTHS[s]}_1234{s:02}_BURST{m:03}",
    "Google's burst": lambda c, s, m, r, n: (
        f"{c}/{m:05}IMG_{m:05}_BURST20190101{120000000 + ord(c[0]) * 1000 + s}_COVER"
    ),
    "Keras's save_to_dir": lambda c, s, m, r, n: f"{c}/aug_{s}_{r.integers(10_000)}",
    "Augmentor": lambda c, s, m, r, n: f"{c}/{c}_original_IMG_{s}.jpg_{code(r)}",
    "Market-1501": lambda c, s, m, r, n: f"{c}/{s:04}_c{m % 6 + 1}s1_{r.integers(10**6):06}_0{m % 3}",
    "BIDS": lambda c, s, m, r, n: f"{c}/sub-{s:02}_ses-{m % 2:02}_slice-{m:03}",
    "frame before clip": lambda c, s, m, r, n: f"{c}/frame_{m:04}_clip{s}",
    "folders of clips": lambda c, s, m, r, n: f"{c}/clip{s}/{m:04}",
    "folders of patients": lambda c, s, m, r, n: f"{c}/patient{s:05}/study{m % 2}/view{m}",
    # unseen
    "camel case": lambda c, s, m, r, n: f"{c}/Video{s}Frame{m:03}",
    "hash and version": lambda c, s, m, r, n: (
        f"{c}/{digest(np.random.default_rng([s, ord(c[0])]), 12)}-{'abcdef'[m]}-rot{m * 60}"
    ),
    "copies in parentheses": lambda c, s, m, r, n: f"{c}/{c}_{s:04}" + (f" ({m})" if m else ""),
    "class by class": lambda c, s, m, r, n: f"{c}/{c}{s:02}_tile_{m // 3}_{m % 3}",
    "left and right": lambda c, s, m, r, n: f"{c}/{s + 100 * (c == 'dog')}_{['left', 'right'][m % 2]}{m // 2}",
    "version first": lambda c, s, m, r, n: f"{c}/{['', 'flip_', 'rot90_', 'noise_', 'zoom_', 'gray_'][m]}img{s:03}",
    "UUID and crop": lambda c, s, m, r, n: f"{c}/{code(np.random.default_rng([s, ord(c[0])]))}_crop{m}",
    "row and column": lambda c, s, m, r, n: f"{c}/scene-{s:02}-r{m // 3:02}-c{m % 3:02}",
    "running frames": lambda c, s, m, r, n: f"{c}/GOPR{s:04}_{s * 500 + m * 30:06}",
    "subject and word": lambda c, s, m, r, n: (
        f"{c}/subject{s:02}.{['happy', 'sad', 'sleepy', 'wink', 'normal', 'glasses'][m]}"
    ),
    "follow-up": lambda c, s, m, r, n: f"{c}/{s + 40 * (c == 'dog'):08}_{m:03}",
    "site folders": lambda c, s, m, r, n: f"{c}/site_{s:02}/IMG_{r.integers(10**4):04}",
    "recordings by time": lambda c, s, m, r, n: f"{c}/2021-05-{s + 1:02}_10-30-0{s % 10}_frame{m:05}",
    "numbered names first": lambda c, s, m, r, n: f"{c}/{m:04}-plot{s}",
    "places": lambda c, s, m, r, n: (
        f"{c}/{'oslo rome paris bonn kiel graz lima york bern nice metz lund'.split()[s]}_{m * 256}_y_{m}_patch"
    ),
    "product views": lambda c, s, m, r, n: f"{c}/B00{'KQXZ'[s % 4]}{s:02}{'AB'[c == 'dog']}-{m + 1}",
    # unseen by the second version
    "drone": lambda c, s, m, r, n: f"{c}/DJI_{s:04}_tile_r{m // 3}_c{m % 3}",
    "video named": lambda c, s, m, r, n: (
        f"{c}/{'oslo rome paris bonn kiel graz lima york bern nice metz lund'.split()[s]}_frame{m * 25:05}"
    ),
    "GOPR frames": lambda c, s, m, r, n: f"{c}/GX01{s:04}-{m * 30:05}",
    "mov dot frame": lambda c, s, m, r, n: f"{c}/MVI_{1000 + s + 100 * (c == 'dog')}.mov_frame_{m}",
    "aug suffix": lambda c, s, m, r, n: f"{c}/{c}{s}_aug{m}" if m else f"{c}/{c}{s}",
    "albumentations": lambda c, s, m, r, n: f"{c}/IMG_{2000 + s}_aug_{m}",
    "subject visits": lambda c, s, m, r, n: f"{c}/S{s:03}_V{m // 3}_{m % 3}",
    "OASIS": lambda c, s, m, r, n: f"{c}/OAS1_{s:04}_MR1_mpr-1_{100 + m}",
    "BreakHis": lambda c, s, m, r, n: f"{c}/SOB_B_A-14-{22549 + s * 7}AB-{40 * (m + 1)}-{m:03}",
    "leaf": lambda c, s, m, r, n: f"{c}/{s + 1000:04}{'abcdef'[m]}",
    "leaf sep": lambda c, s, m, r, n: f"{c}/{s + 1000:04}-{'abcdef'[m]}",
    "youtube": lambda c, s, m, r, n: f"{c}/v_{c}_g{s:02}_c{m:02}",
    "plant id folder": lambda c, s, m, r, n: f"{c}/plant_{s}/day{m}/IMG_{r.integers(10**4)}",
    "rot deg": lambda c, s, m, r, n: f"{c}/{s:03}_rot{m * 60}",
    "flip first keras": lambda c, s, m, r, n: f"{c}/aug_{s}_{r.integers(10**7)}",
    "camera trap seq": lambda c, s, m, r, n: f"{c}/LOC{s:02}_20210503_1015{m:02}_{m}",
    "xray": lambda c, s, m, r, n: f"{c}/{s + 40 * (c == 'dog'):08}_{m:03}",
    "person": lambda c, s, m, r, n: f"{c}/person{s}_bacteria_{n}",
    "slide and level": lambda c, s, m, r, n: f"{c}/TCGA-{'ABCDEF'[s % 6]}{s}-01Z_{m * 512}_{m * 256}",
    "burst phone": lambda c, s, m, r, n: f"{c}/20210503_1015{s:02}_{m:03}",
}
NONE = {
    "counter": lambda c, s, m, r, n: f"{c}/{n:05}",
    "class and dot": lambda c, s, m, r, n: f"{c}/{c}.{n}",
    "hash": lambda c, s, m, r, n: f"{c}/{digest(r, 16)}",
    "UUID": lambda c, s, m, r, n: f"{c}/{code(r)}",
    "camera": lambda c, s, m, r, n: f"{c}/IMG_{1000 + n}",
    "capture time": lambda c, s, m, r, n: f"{c}/IMG_{MONTHS[s]}_{time(r)}",
    "WhatsApp": lambda c, s, m, r, n: f"{c}/IMG-{MONTHS[s]}-WA{m:04}",
    "WordNet": lambda c, s, m, r, n: f"{c}/n0208{s % 3:04}_{n}",
    "bird": lambda c, s, m, r, n: f"{c}/Black_Footed_{c}_{n:04}_{r.integers(100)}",
    "COCO": lambda c, s, m, r, n: f"{c}/COCO_val2014_{r.integers(10**6):012}",
    "Flickr": lambda c, s, m, r, n: f"{c}/{r.integers(10**9)}_{digest(r, 10)}_n",
    "UTKFace": lambda c, s, m, r, n: f"{c}/{20 + s}_{m % 2}_{m % 5}_20170116{r.integers(10**9):09}",
    "title": lambda c, s, m, r, n: f"{c}/{n}. {digest(r, 5)}-2021",
    "names": lambda c, s, m, r, n: f"{c}/{['anna', 'ben', 'carl'][s % 3]}_{n:03}",
    "camera's folders": lambda c, s, m, r, n: f"{c}/{100 + s}CANON/IMG_{n:04}",
    "months": lambda c, s, m, r, n: f"{c}/2021/{s + 1:02}/IMG_{n:04}",
    # unseen
    "Windows camera": lambda c, s, m, r, n: f"{c}/WIN_{MONTHS[s]}_{s + 10}_{m + 20}_{r.integers(60):02}_Pro",
    "screenshots": lambda c, s, m, r, n: (
        f"{c}/Screenshot 2021-05-{s + 1:02} at {m + 10}.{r.integers(60):02}.{r.integers(60):02}"
    ),
    "Unsplash": lambda c, s, m, r, n: f"{c}/photo-{1500000000000 + int(r.integers(10**10))}-{digest(r, 12)}",
    "stock": lambda c, s, m, r, n: f"{c}/istockphoto-{r.integers(10**9)}-612x612",
    "downloads": lambda c, s, m, r, n: f"{c}/images ({n})",
    "class number": lambda c, s, m, r, n: f"{c}/class{'cat dog'.index(c)}_{n}",
    "Caltech": lambda c, s, m, r, n: f"{c}/{'057' if c == 'cat' else '056'}_{n:04}",
    "VOC": lambda c, s, m, r, n: f"{c}/{2007 + s % 4}_{n:06}",
    "Pixel": lambda c, s, m, r, n: f"{c}/PXL_{MONTHS[s]}_{time(r)}{r.integers(1000):03}.MP",
    "Open Images": lambda c, s, m, r, n: f"{c}/{digest(r, 16)}_o",
    "inaturalist folders": lambda c, s, m, r, n: f"{c}/{['Felis catus', 'Puma', 'Lynx'][s % 3]}/{r.integers(10**9)}",
    "size at the end": lambda c, s, m, r, n: f"{c}/{c}-{n}-640x480",
    "weather": lambda c, s, m, r, n: f"{c}/rain{n}",
    "train image": lambda c, s, m, r, n: f"{c}/train_image_{n:04}_label{'cat dog'.index(c)}",
    "author and title": lambda c, s, m, r, n: f"{c}/{['monet', 'vangogh', 'klee'][s % 3]}_{n}",
    "parts of a data set": lambda c, s, m, r, n: f"{c}/part_{s}/ISIC_{n:07}",
    "base64": lambda c, s, m, r, n: f"{c}/{''.join(r.choice(list('abcXYZ019QRS'), 11))}",
    "telegram": lambda c, s, m, r, n: f"{c}/photo_{n}@{s + 10}-05-2021_1{m}-{r.integers(60):02}-{r.integers(60):02}",
    "age and sex": lambda c, s, m, r, n: f"{c}/{n}_{20 + s}_{'MF'[m % 2]}",
    "versions at random": lambda c, s, m, r, n: f"{c}/{c}_{n:04}_v1",
    # unseen by the second version
    "dsc": lambda c, s, m, r, n: f"{c}/DSC{n:05}",
    "dsc2": lambda c, s, m, r, n: f"{c}/_DSC{n:04}-Edit",
    "dcim": lambda c, s, m, r, n: f"{c}/P{1010000 + n}",
    "bing": lambda c, s, m, r, n: f"{c}/Image_{n}",
    "google dl": lambda c, s, m, r, n: f"{c}/{n}.{digest(r, 6)}",
    "hash8": lambda c, s, m, r, n: f"{c}/{digest(r, 8)}",
    "class-n-size": lambda c, s, m, r, n: f"{c}/{c}_{n}_{r.integers(300, 800)}x{r.integers(300, 800)}",
    "date counter": lambda c, s, m, r, n: f"{c}/{MONTHS[s]}_{n:04}",
    "VID": lambda c, s, m, r, n: f"{c}/IMG{MONTHS[s]}{time(r)}",
    "score": lambda c, s, m, r, n: f"{c}/{n:04}_{r.random():.4f}",
    "fruit 2 nums": lambda c, s, m, r, n: f"{c}/{c} {n} of 144",
    "freiburg": lambda c, s, m, r, n: f"{c}/{c.upper()}{n:04}",
    "ham": lambda c, s, m, r, n: f"{c}/ISIC_{r.integers(10**7):07}_downsampled",
    "food": lambda c, s, m, r, n: f"{c}/{r.integers(10**7)}",
    "img hash": lambda c, s, m, r, n: f"{c}/img_{n}_{digest(r, 6)}",
    "lot": lambda c, s, m, r, n: f"{c}/batch{s}_{n:04}",
    "author year": lambda c, s, m, r, n: f"{c}/{['anna', 'ben', 'carl'][s % 3]}_{2015 + s % 5}_{n:03}",
    "iphone dup": lambda c, s, m, r, n: f"{c}/IMG_{n:04}" + (" 2" if n % 17 == 0 else ""),
    "eurosat": lambda c, s, m, r, n: f"{c}/AnnualCrop_{n}",
    "page": lambda c, s, m, r, n: f"{c}/page_{n}",
    "crop": lambda c, s, m, r, n: f"{c}/crop_{n:04}",
    "frame": lambda c, s, m, r, n: f"{c}/frame{n:04}",
    "dogs": lambda c, s, m, r, n: f"{c}/n02{85620 + ord(c[0])}_{r.integers(10**5)}",
    "place365": lambda c, s, m, r, n: f"{c}/Places365_val_{n:08}",
    "label studio": lambda c, s, m, r, n: f"{c}/{digest(r, 8)}-IMG_{n:04}",
    "mnist": lambda c, s, m, r, n: f"{c}/{n}_{'cat dog'.index(c)}",
}


def names(scheme):
    """Returns paths, classes and sources of the images of a scheme."""
    rng, rows = np.random.default_rng(0), []
    for label, c in enumerate(("cat", "dog")):
        for s in range(SOURCES):
            for m in range(MEMBERS):
                n = (label * SOURCES + s) * MEMBERS + m
                rows.append([f"{scheme(c, s, m, rng, n)}.jpg", c, f"{c} {s}"])
    return pd.DataFrame(rows, columns=["path", "class", "source"])


def divide(table, group, split=""):
    """Returns the split of each image, with a group for each."""
    images = pd.DataFrame({"path": table["path"], "class": table["class"], "sha256": table["path"], "split": split})
    images = images.assign(group=group, duplicates=range(len(table)))
    split = assign.to_splits(images, params.Data(), 1)
    return images, pd.Series(split, images.index)


def advice(table):
    """Returns the line on series, and the number of test images that share a source with train if it is followed."""
    images, split = divide(table, range(len(table)))
    line = "".join(series.notes(images, split, params.Data()))
    if not line:
        return "", 0
    pattern = re.search(r"data\.group_pattern='(.*)'\"", line)
    values = groups.by_pattern(table["path"], pattern[1]) if pattern else table["path"]
    _, split = divide(table, pd.factorize(values.mask(values == "", table["path"]))[0])
    trained = set(table["source"][split == "train"])
    return line, ((split == "test") & table["source"].isin(trained)).sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    folders = {}
    for folder in parser.parse_args().folders:
        paths = [image.path for image in find_files(folder)]
        table = pd.DataFrame({"path": paths, "class": [path.split("/")[0] for path in paths]})
        folders[str(folder)] = table.assign(source=table["path"])
    counts = {True: [0, 0], False: [0, 0]}
    for expected, tables in {True: SERIES, False: NONE | folders}.items():
        for name, table in tables.items():
            line, shared = advice(table if isinstance(table, pd.DataFrame) else names(table))
            counts[expected][bool(line)] += 1
            if bool(line) != expected or expected and shared:
                print(f"{name}: {printable(line) or 'no line'}; {shared} test images share a series if it is followed")
    found, wrong = counts[True][1], counts[False][1]
    print(f"{sum(counts[True])} schemes with series, {sum(counts[False])} without")
    print(f"precision {found / max(1, found + wrong):.3f}, recall {found / sum(counts[True]):.3f}")


if __name__ == "__main__":
    main()
