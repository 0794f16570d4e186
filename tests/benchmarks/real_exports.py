"""Gives exports that the real packages write to `split`, and says whether each ends as expected.

    python -m tests.benchmarks.real_exports [--packages datumaro fiftyone] [--environments FOLDER]

Each package is installed with pip into an environment of its own (FiftyOne's takes minutes), and a script of
tests/benchmarks/exporters writes the exports of classification that it has, of 12 images of cats, 12 of dogs and 3
without a label. FiftyOne's exporters run without its database, and MedMNIST's without PyTorch. Printed is a paragraph
per export: the package, the export and the settings, then the images of each class and what is said of them, or the
error. Exits with 1 if any ends otherwise. With --environments, environments stay in a folder and are found there again.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.benchmarks.exports import Export, check_all
from tests.support import ROOT, make_images

PACKAGES = {  # from the writer to the arguments of each `pip install`
    "datumaro": ["datumaro==1.13.12"],
    "label_studio_sdk": ["label-studio-sdk==2.1.2"],
    "fiftyone": ["fiftyone==1.22.1"],
    "datasets": ["datasets==5.2.0 pillow==13.0.0"],
    "medmnist": ["--no-deps medmnist==3.0.2", "scikit-image==0.26.0 tqdm==4.70.1"],
    "webdataset": ["webdataset==1.0.2"],
}
BOTH, NUMBERS = {"cat": 12, "dog": 12}, {"0": 12, "1": 12}
SKIP = {"on_unreadable": "skip"}  # leaves out images that the table has no label for
CHOICE = {"columns.path": "image", "columns.label": "choice"}
RESULT = {"columns.path": "data.image", "columns.label": "annotations.result.value.choices"}
NAMED = {"columns.names": ["path", "label"]}
FILES = {"columns.path": "image"}
SAMPLES = {"columns.path": "filepath", "columns.label": "ground_truth.label"}
SEVERAL = "several labels are not supported"
ITEMS = {"columns.path": "image.path", "columns.label": "annotations.label_id"}
HUMAN = {"columns.path": "ImageID", "columns.label": "LabelName"}
MEDMNIST = {"columns.names": ["split", "path", "label"]}

EXPORTS = {
    "datumaro": [
        Export("imagenet/whole", BOTH, "'no_label' (3 images)"),
        Export("imagenet/second", None, "data.on_label_conflict"),
        Export("imagenet/second", {"cat": 11, "dog": 12}, "'no_label'", settings={"on_label_conflict": "drop"}),
        Export("imagenet_with_subset_dirs/whole", BOTH, "'no_label' (3 images)"),
        Export("imagenet_with_subset_dirs/subsets", BOTH, "test is 'test'"),
        Export("imagenet_txt/whole", NUMBERS, "3 unreadable", "images", "default.txt", NAMED | SKIP),
        Export("imagenet_txt/whole", None, "data.columns.names", "images", "default.txt"),
        Export("imagenet_txt/subsets", NUMBERS, "3 unreadable", "images", "", NAMED | SKIP | {"labels": "."}),
        Export("imagenet_txt/second", None, "has 3 columns", "images", "default.txt", NAMED | SKIP),
        Export("datumaro/whole", NUMBERS, "3 unreadable", "images", "annotations/default.json", ITEMS | SKIP),
        Export("datumaro/second", None, SEVERAL, "images", "annotations/default.json", ITEMS),
        Export("coco/whole", None, "no list of objects", "images", "annotations/labels_default.json"),
        Export("cvat/whole", None, "at least two sub-folders"),
        Export(
            "open_images/whole",
            BOTH,
            "3 unreadable",
            "images",
            "annotations/default-annotations-human-imagelabels.csv",
            HUMAN | SKIP,
        ),
        Export(
            "voc_classification/whole",
            {"-1": 12, "1": 12},
            "3 unreadable",
            "JPEGImages",
            "ImageSets/Main/cat_default.txt",
            NAMED | SKIP | {"classes": ["1", "-1"]},
        ),
        Export("vgg_face2/whole", BOTH, "'no_label' (3 images)"),
        Export("vgg_face2/subsets", BOTH, "test is 'test'"),
        Export("lfw/whole", BOTH, "beside the class folders", "default/images"),
        Export("yolo/whole", None, "at least two sub-folders"),
        Export("mnist_csv/whole", None, "at least two sub-folders"),
        Export("arrow/whole", None, "Arrow"),
    ],
    "label_studio_sdk": [
        Export("one", BOTH, "3 unreadable", "images", "CSV/result.csv", CHOICE | SKIP),
        Export("one", BOTH, "3 unreadable", "images", "TSV/result.csv", CHOICE | SKIP),
        Export("one", BOTH, "3 unreadable", "images", "JSON/result.json", RESULT | SKIP),
        Export("one", BOTH, "3 unreadable", "images", "JSON_MIN/result.json", CHOICE | SKIP),
        Export("one", None, "has an empty label", "images", "CSV/result.csv", CHOICE),
        Export("agree", BOTH, "3 unreadable", "images", "CSV/result.csv", CHOICE | SKIP),
        Export("agree", BOTH, "3 unreadable", "images", "JSON/result.json", RESULT | SKIP),
        Export("disagree", None, "disagree on the label: 'dog', 'cat'", "images", "CSV/result.csv", CHOICE),
        Export(
            "disagree",
            {"cat": 11, "dog": 12},
            "1 image whose rows disagree",
            "images",
            "CSV/result.csv",
            CHOICE | SKIP | {"on_label_conflict": "drop"},
        ),
        Export("several", None, SEVERAL, "images", "CSV/result.csv", CHOICE),
        Export("several", None, SEVERAL, "images", "JSON/result.json", RESULT),
        Export("several", None, SEVERAL, "images", "JSON_MIN/result.json", CHOICE),
        Export("skipped", BOTH, "3 unreadable", "images", "CSV/result.csv", CHOICE | SKIP),
        Export("skipped", BOTH, "3 unreadable", "images", "JSON/result.json", RESULT | SKIP),
    ],
    "fiftyone": [
        Export("tree", BOTH, "'_unlabeled' (3 images)"),
        Export("labels", BOTH, "3 unreadable", "data", "labels.json", SKIP),
        Export("labels_numbers", BOTH, "3 unreadable", "data", "labels.json", SKIP),
        Export("labels_confidence", BOTH, "3 unreadable", "data", "labels.json", SKIP),
        Export("labels_several", None, SEVERAL, "data", "labels.json"),
        Export("samples", BOTH, "3 unreadable", "data", "samples.json", SAMPLES | SKIP),
        Export(
            "samples_several",
            None,
            SEVERAL,
            "data",
            "samples.json",
            SAMPLES | {"columns.label": "ground_truth.classifications.label"},
        ),
    ],
    "datasets": [
        Export("whole/dataset", None, "Arrow"),
        Export("whole/splits", None, "Arrow"),
        Export("parquet", None, "Parquet"),
        Export("json", NUMBERS, "", "../imagefolder", "pictures.jsonl", {"columns.path": "image.path"}),
        Export("json", NUMBERS, "", "../imagefolder", "files.jsonl", FILES),
        Export("json", NUMBERS, "", "../imagefolder", "files.json", FILES),
        Export("csv", NUMBERS, "", "../imagefolder", "files.csv", FILES),
        Export("csv", None, "no row fits a file", "../imagefolder", "pictures.csv", FILES),
        Export("imagefolder", BOTH),
        Export("imagefolder_csv", BOTH, "validation", ".", ".", {"columns.path": "file_name"}),
        Export("imagefolder_jsonl", BOTH, "validation", ".", ".", {"columns.path": "file_name"}),
        Export("imagefolder_csv", None, "metadata.csv"),
        Export("imagefolder_jsonl", None, "metadata.jsonl"),
    ],
    "medmnist": [
        Export("single", NUMBERS, "", "pathmnist", "pathmnist.csv", MEDMNIST),
        Export("single", None, "data.columns.names", "pathmnist", "pathmnist.csv"),
        Export("twice", NUMBERS, "", "pathmnist", "pathmnist.csv", MEDMNIST),
        Export(
            "several",
            None,
            SEVERAL,
            "chestmnist",
            "chestmnist.csv",
            {"columns.names": ["split", "path", "mass", "nodule", "edema"]},
        ),
        Export("array", None, "npz"),
    ],
    "webdataset": [
        Export("shards", None, "tar"),
        Export("unpacked", BOTH, "3 unreadable", settings={"label_pattern": "^(cat|dog)_"} | SKIP),
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--environments", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images = make_flat_images(place)
        for package in arguments.packages:
            write(package, images, place / package, (arguments.environments or place / "environments") / package)
        sys.exit(check_all({place / package: EXPORTS[package] for package in arguments.packages}))


def make_flat_images(place):
    """Writes images into one folder: cat_000.png and so on, and none_000.png for those without a label."""
    folder = place / "images"
    folder.mkdir()
    for path in make_images(place / "classes", BOTH | {"none": 3}).glob("*/*"):
        path.rename(folder / f"{path.parent.name}_{path.name}")
    return folder


def write(package, images, out, environment):
    """Installs a package, unless the environment is there, and writes its exports."""
    python = environment / "bin/python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        for wanted in PACKAGES[package]:
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted.split()], check=True)
    script = ROOT / f"tests/benchmarks/exporters/write_{package}.py"
    out.mkdir()
    result = subprocess.run([python, script, images, out], cwd=out, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{script} failed:\n{result.stderr}")


if __name__ == "__main__":
    main()
