#!/usr/bin/env bash
# datumaro's Dataset.from_iterable, given a generator, makes a dataset that is empty: a generator can be read once, the
# dataset is read again, and what it exports is an empty folder. Nothing is said.
#
# Expected, as its docstring says ("an iterable object producing dataset items - a generator, a list etc."): the same
# as of a list. Seen with datumaro 1.13.12 (Python 3.11):
#
#     list: 3 items, 3 files in the export
#     generator: 0 items, 0 files in the export
#
# Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q datumaro==1.13.12
cat > export.py <<'PYTHON'
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image


def items():
    for name in "abc":
        image = Image.from_numpy(np.zeros((4, 4, 3), np.uint8))
        yield DatasetItem(name, media=image, annotations=[Label(0)])


for title, iterable in {"list": list(items()), "generator": items()}.items():
    dataset = Dataset.from_iterable(iterable, categories=["cat"])
    dataset.export(title, "imagenet", save_media=True)
    files = [path for path in Path(title).rglob("*") if path.is_file()]
    print(f"{title}: {len(dataset)} items, {len(files)} files in the export")
PYTHON
seen=$(.venv/bin/python export.py)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
list: 3 items, 3 files in the export
generator: 0 items, 0 files in the export
SEEN
