"""Gives exports of tools that pip cannot install, built as their documentation says, to `split`.

    python -m tests.benchmarks.documented_exports

Of 12 images of cats and 12 of dogs: Roboflow's folders and its CSV of classes, Timelapse's CSV, Camtrap DP, the CSV
and JSON Lines of Vertex AI and AutoML, a manifest of Ground Truth, an album of Google Takeout, annotations beside
images as labelme, Pascal VOC and YOLO have them, ISIC's ground truth and HAM10000's metadata. Printed is a paragraph
per export, as tests.benchmarks.real_exports prints it. Exits with 1 if any ends otherwise than expected.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from tests.benchmarks.exports import Export, check_all
from tests.support import make_images

BOTH = {"cat": 12, "dog": 12}
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # Roboflow's folder of each split, and its name
ML_USE = "dataItemResourceLabels.aiplatform.googleapis.com/ml_use"
VERTEX = {"columns.path": "imageGcsUri", "columns.label": "classificationAnnotation.displayName"}
SPECIES = {"columns.label": "Species"}

EXPORTS = [
    Export("roboflow_folders", BOTH, "validation is 'valid'"),
    Export("roboflow_csv", BOTH, "The classes are the columns", ".", ".", {"columns.path": "filename"}),
    Export("roboflow_csv", None, "_classes.csv"),
    Export("timelapse", BOTH, "", ".", "TimelapseData.csv", {"columns.path": "RelativePath/File"} | SPECIES),
    Export("camtrap_dp", {"Camera0": 12, "Camera1": 12}, "WARNING: media.csv names images"),
    Export(
        "camtrap_dp", BOTH, "", ".", "../joined.csv", {"columns.path": "filePath", "columns.label": "scientificName"}
    ),
    Export("vertex", BOTH, "", "images", "vertex.jsonl", VERTEX | {"columns.split": ML_USE}),
    Export("vertex", BOTH, "", "images", "vertex.csv", {"columns.names": ["split", "path", "label"]}),
    Export("vertex", None, "data.columns.names", "images", "vertex.csv"),
    Export("automl", BOTH, "", "images", "automl.csv", {"columns.names": ["split", "path", "label"]}),
    Export(
        "ground_truth",
        BOTH,
        "",
        "images",
        "output.manifest",
        {"columns.path": "source-ref", "columns.label": "animal-metadata.class-name"},
    ),
    Export("takeout", BOTH, "24 texts or tables beside images"),
    Export("labelme", BOTH, "24 texts or tables beside images"),
    Export("voc", BOTH, "24 texts or tables beside images"),
    Export("yolo", BOTH, "24 texts or tables beside images"),
    Export("isic", BOTH, "No row is of the class BCC", "images", "truth.csv", {"columns.path": "image"}),
    Export(
        "ham10000",
        BOTH,
        "",
        "images",
        "metadata.csv",
        {"columns.path": "image_id", "columns.label": "dx", "columns.group": "lesion_id"},
    ),
]
# Files that lie beside an image: what follows its name without extension, and the content.
SIDECARS = {
    "takeout": (
        ".png.supplemental-metadata.json",
        '{"title": "NAME.png", "photoTakenTime": {"timestamp": "1700000000"}}',
    ),
    "labelme": (".json", '{"version": "5.5.0", "shapes": [{"label": "LABEL"}], "imagePath": "NAME.png"}'),
    "voc": (".xml", "<annotation><filename>NAME.png</filename><object><name>LABEL</name></object></annotation>"),
    "yolo": (".txt", "0 0.5 0.5 0.25 0.25\n"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        classes = make_images(place / "classes", BOTH)
        images = [(path, path.parent.name) for path in sorted(classes.glob("*/*"))]
        out = place / "documented"
        write_folders(out, images)
        write_tables(out, images)
        write_camera_traps(out, images)
        sys.exit(check_all({out: EXPORTS}))


def copy(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def write_folders(out, images):
    """Roboflow's folders of splits, with class folders or a table in each; and class folders with a text per image."""
    rows = {name: [] for name in SPLITS}
    for number, (path, label) in enumerate(images):
        split = ["train", "train", "valid", "test"][number % 4]
        name = f"{label}{path.stem}_png.rf.{number:032x}.png"
        copy(path, out / "roboflow_folders" / split / label / name)
        copy(path, out / "roboflow_csv" / split / name)
        rows[split].append(f"{name}, {label == 'cat':d}, {label == 'dog':d}, 0\n")
        for kind, (ending, text) in SIDECARS.items():
            copy(path, out / kind / label / path.name)
            side = out / kind / label / f"{path.stem}{ending}"
            side.write_text(text.replace("NAME", path.stem).replace("LABEL", label))
    for split, lines in rows.items():
        table = out / "roboflow_csv" / split / "_classes.csv"
        table.write_text("".join(["filename, cat, dog, Unlabeled\n", *lines]))
    for kind in ("folders", "csv"):
        for name in ("README.dataset.txt", "README.roboflow.txt"):
            (out / f"roboflow_{kind}" / name).write_text("Exported on November 1, 2026\n")


def write_tables(out, images):
    """Tables in which clouds and contests name images that lie in one folder."""
    records = []
    for number, (path, label) in enumerate(images):
        name = f"ISIC_{number:07}"
        for kind in ("vertex", "automl", "ground_truth", "isic", "ham10000"):
            copy(path, out / kind / "images" / f"{name}.png")
        split = ["train", "train", "validation", "test"][number % 4]
        records.append((name, f"bucket/inbox/{name}.png", label, split))
    write_lines(out / "vertex/vertex.jsonl", (vertex_record(*record) for record in records))
    (out / "vertex/vertex.csv").write_text(
        "".join(f"{use(split)},gs://{uri},{label}\n" for _, uri, label, split in records)
    )
    (out / "automl/automl.csv").write_text(
        "".join(f"{split.upper()},gs://{uri},{label}\n" for _, uri, label, split in records)
    )
    write_lines(out / "ground_truth/output.manifest", (ground_truth_record(*record) for record in records))
    truth = [(name, float(label == "cat"), float(label == "dog"), 0.0) for name, _, label, _ in records]
    pd.DataFrame(truth, columns=["image", "cat", "dog", "BCC"]).to_csv(out / "isic/truth.csv", index=False)
    lesions = [
        (f"HAM_{number // 2:07}", name, label, "histo", 50.0, "male", "back")
        for number, (name, _, label, _) in enumerate(records)
    ]
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(lesions, columns=columns).to_csv(out / "ham10000/metadata.csv", index=False)


def use(split):
    """Vertex AI's name of a split."""
    return "training" if split == "train" else split


def vertex_record(_, uri, label, split):
    return {
        "imageGcsUri": f"gs://{uri}",
        "classificationAnnotation": {"displayName": label},
        "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": use(split)},
    }


def ground_truth_record(_, uri, label, __):
    metadata = {"class-name": label, "confidence": 0.94, "type": "groundtruth/image-classification"}
    metadata |= {"job-name": "labeling-job/animal", "human-annotated": "yes", "creation-date": "2026-11-01T10:00:00"}
    return {"source-ref": f"s3://{uri}", "animal": ["cat", "dog"].index(label), "animal-metadata": metadata}


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_camera_traps(out, images):
    """Timelapse's table, and Camtrap DP: media and observations, joined as the documentation of the pipeline says."""
    rows, media, observations = [], [], []
    for number, (path, label) in enumerate(images):
        camera, name = f"Camera{number % 2}", f"IMG_{number // 2:04}.png"  # the same names in both cameras
        copy(path, out / "timelapse/Station1" / camera / name)
        copy(path, out / "camtrap_dp/media" / camera / name)
        rows.append(("Root", name, f"Station1\\{camera}", "2026-11-01 10:00:00", "false", label))
        media.append((f"m{number}", camera, "2026-11-01T10:00:00Z", f"media/{camera}/{name}", name, "image/png"))
        # Two animals of one species in an image: two observations.
        observations += [(f"o{number}-{animal}", camera, f"m{number}", "media", "animal", label) for animal in range(2)]
    columns = ["RootFolder", "File", "RelativePath", "DateTime", "DeleteFlag", "Species"]
    pd.DataFrame(rows, columns=columns).to_csv(out / "timelapse/TimelapseData.csv", index=False)
    folder = out / "camtrap_dp"
    columns = ["mediaID", "deploymentID", "timestamp", "filePath", "fileName", "fileMediatype"]
    pd.DataFrame(media, columns=columns).to_csv(folder / "media.csv", index=False)
    columns = ["observationID", "deploymentID", "mediaID", "observationLevel", "observationType", "scientificName"]
    pd.DataFrame(observations, columns=columns).to_csv(folder / "observations.csv", index=False)
    deployments = pd.DataFrame({"deploymentID": ["Camera0", "Camera1"], "latitude": [0, 1], "longitude": [0, 1]})
    deployments.to_csv(folder / "deployments.csv", index=False)
    (folder / "datapackage.json").write_text('{"resources": [{"name": "media", "path": "media.csv"}]}\n')
    joined = pd.read_csv(folder / "media.csv").merge(pd.read_csv(folder / "observations.csv"), on="mediaID")
    joined.to_csv(folder.parent / "joined.csv", index=False)


if __name__ == "__main__":
    main()
