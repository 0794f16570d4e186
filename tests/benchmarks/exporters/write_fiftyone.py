"""Writes FiftyOne's exports of images whose names begin with their class, or with `none`: IMAGES OUT.

Its database, which only runs where its MongoDB does, is not needed: the exporters are given sample after sample. What
the exporter of FiftyOneDataset reads from the database is what a Sample gives for it.
"""

import os
import shutil
import sys
from pathlib import Path

os.environ["FIFTYONE_DISABLE_SERVICES"] = "1"
os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"

import fiftyone as fo
from bson import ObjectId
from fiftyone.core import odm
from fiftyone.utils.data import exporters

images, out = map(Path, sys.argv[1:])


def to_label(path, several=False, **options):
    """The label of an image, None without one; of the first image two, if `several`."""
    name = path.stem.split("_")[0]
    if name == "none":
        return None
    if not several:
        return fo.Classification(label=name, **options)
    names = ["cat", "dog"] if path.stem.endswith("_000") else [name]
    return fo.Classifications(classifications=[fo.Classification(label=name) for name in names])


def export(name, exporter, **options):
    folder = out / name
    with exporter(export_dir=str(folder), **options) as running:
        for path in sorted(images.iterdir()):
            confidence = {"confidence": 0.9} if "include_confidence" in options else {}
            running.export_sample(str(path), to_label(path, name.endswith("several"), **confidence))


export("tree", exporters.ImageClassificationDirectoryTreeExporter)
export("labels", exporters.FiftyOneImageClassificationDatasetExporter)
export("labels_numbers", exporters.FiftyOneImageClassificationDatasetExporter, classes=["cat", "dog"])
export("labels_confidence", exporters.FiftyOneImageClassificationDatasetExporter, include_confidence=True)
export("labels_several", exporters.FiftyOneImageClassificationDatasetExporter)
for kind in ("samples", "samples_several"):
    documents = []
    (out / kind / "data").mkdir(parents=True)
    for path in sorted(images.iterdir()):
        shutil.copy(path, out / kind / "data")
        sample = fo.Sample(str(path), tags=["train"], ground_truth=to_label(path, kind.endswith("several")))
        documents.append(sample.to_mongo_dict() | {"_id": ObjectId(), "filepath": f"data/{path.name}"})
    odm.export_collection(documents, str(out / kind / "samples.json"), key="samples", num_docs=len(documents))
