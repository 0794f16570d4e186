"""Writes the exports of Hugging Face's datasets of images whose names begin with their class: IMAGES OUT."""

import csv
import json
import shutil
import sys
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image, Value, load_dataset

images, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
paths = [path for path in sorted(images.iterdir()) if not path.stem.startswith("none")]
names = [path.stem.split("_")[0] for path in paths]
label = ClassLabel(names=["cat", "dog"])
columns = {"image": [str(path) for path in paths], "label": list(map(label.str2int, names))}
pictures = Dataset.from_dict(columns, Features({"image": Image(), "label": label}))
files = Dataset.from_dict(
    columns | {"image": [path.name for path in paths]}, Features({"image": Value("string"), "label": label})
)
unlabelled = Dataset.from_dict({"image": ["none_000.png", "none_001.png"], "label": [None, -1]}, files.features)
for name in ("whole", "json", "csv", "parquet"):
    (out / name).mkdir(parents=True)
pictures.save_to_disk(out / "whole/dataset")
pictures.train_test_split(0.25, seed=0).save_to_disk(out / "whole/splits")
pictures.to_parquet(out / "parquet/train-00000-of-00001.parquet")
pictures.to_json(out / "json/pictures.jsonl")
files.to_json(out / "json/files.jsonl")
files.to_json(out / "json/files.json", lines=False)
pictures.to_csv(out / "csv/pictures.csv")
files.to_csv(out / "csv/files.csv")
unlabelled.to_json(out / "json/unlabelled.jsonl")
for path, name in zip(paths, names, strict=True):
    (out / "imagefolder" / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(path, out / "imagefolder" / name)
for kind in ("csv", "jsonl"):
    for split, start in {"train": 0, "test": 1}.items():
        folder = out / f"imagefolder_{kind}" / split
        folder.mkdir(parents=True)
        rows = []
        for number, (path, name) in enumerate(list(zip(paths, names, strict=True))[start::2]):
            shutil.copy(path, folder / f"{number}.png")  # the same names in both splits
            rows.append({"file_name": f"{number}.png", "label": name})
        with open(folder / f"metadata.{kind}", "w", newline="") as file:
            if kind == "jsonl":
                file.writelines(json.dumps(row) + "\n" for row in rows)
            else:
                writer = csv.DictWriter(file, ["file_name", "label"])
                writer.writeheader()
                writer.writerows(rows)
    assert load_dataset("imagefolder", data_dir=str(out / f"imagefolder_{kind}"))["test"][0]["label"] == names[1]
