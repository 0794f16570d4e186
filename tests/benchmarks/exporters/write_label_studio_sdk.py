"""Writes exports of Label Studio's converter, of images whose names begin with their class or `none`: IMAGES OUT."""

import json
import shutil
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter

CONFIG = """<View><Image name="image" value="$image"/><Choices name="choice" toName="image"><Choice value="cat"/>
<Choice value="dog"/></Choices></View>"""
images, out = map(Path, sys.argv[1:])


def annotation(number, choices, annotator=1, cancelled=False):
    value = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": choices}}
    return {
        "id": number,
        "completed_by": {"id": annotator, "email": f"{annotator}@example.com"},
        "result": [value] if choices else [],
        "was_cancelled": cancelled,
        "created_at": f"2026-11-01T10:00:{number % 60:02}Z",
        "updated_at": "2026-11-01T11:00:00Z",
        "lead_time": 3.2,
    }


def annotations(kind, number, name):
    if name == "none":
        return [annotation(number, [], cancelled=True)] if kind == "skipped" else []
    if kind == "several" and number == 0:
        return [annotation(number, ["cat", "dog"])]
    second = "dog" if kind == "disagree" and number == 0 else name
    others = [annotation(100 + number, [second], annotator=2)] if kind in ("agree", "disagree") else []
    return [annotation(number, [name]), *others]


for kind in ("one", "agree", "disagree", "several", "skipped"):
    tasks = []
    (out / kind / "images").mkdir(parents=True)
    for number, path in enumerate(sorted(images.iterdir())):
        name = f"{number:08x}-{path.name}"
        shutil.copy(path, out / kind / "images" / name)
        answers = annotations(kind, number, path.stem.split("_")[0])
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/{name}"}, "annotations": answers})
    (out / kind / "tasks.json").write_text(json.dumps(tasks))
    for name in ("CSV", "TSV", "JSON", "JSON_MIN"):
        converter = Converter(CONFIG, project_dir=None)
        converter.convert(str(out / kind / "tasks.json"), str(out / kind / name), name, is_dir=False)
