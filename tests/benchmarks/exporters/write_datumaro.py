"""Writes datumaro's exports of images whose names begin with their class, or with `none`: IMAGES OUT."""

import sys
from pathlib import Path

from datumaro.components.annotation import Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

FORMATS = ["imagenet", "imagenet_with_subset_dirs", "imagenet_txt", "datumaro", "coco", "cvat", "open_images"]
FORMATS += ["voc_classification", "vgg_face2", "lfw", "yolo", "mnist_csv", "cifar", "arrow"]
CLASSES = ["cat", "dog"]
images, out = map(Path, sys.argv[1:])


def items(divided, second):
    """Items with their labels; in subsets if `divided`; the first one with a second label if `second`."""
    for number, path in enumerate(sorted(images.iterdir())):
        name, place = path.stem.split("_")
        labels = [Label(CLASSES.index(name))] if name in CLASSES else []
        subset = ["train", "train", "val", "test"][int(place) % 4] if divided else "default"
        if second and number == 0:
            labels.append(Label(1))
        yield DatasetItem(path.stem, subset=subset, media=Image.from_file(path=str(path)), annotations=labels)


for name in FORMATS:
    for kind in ("whole", "subsets", "second"):
        dataset = Dataset.from_iterable(list(items(kind == "subsets", kind == "second")), categories=CLASSES)
        dataset.export(str(out / name / kind), name, save_media=True)
