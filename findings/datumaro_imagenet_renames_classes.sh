#!/usr/bin/env bash
# datumaro writes its ImageNet format so that it does not read the same labels again: an image with a folder in its id
# comes back with the class "dog/shots" in place of "dog", and one with two labels as two images of one label each.
# Nothing is said at either end. Its other formats of classification, imagenet_txt for one, keep both.
#
# Expected: the labels that were exported. Seen with datumaro 1.13.12 (Python 3.11):
#
#     exported: [('both', ['cat', 'dog']), ('plain', ['cat']), ('shots/0001', ['dog'])]
#     imagenet: [('cat:both', ['cat']), ('cat:plain', ['cat']), ('dog/shots:0001', ['dog/shots']), ('dog:both', ['dog'])]
#     imagenet_txt: [('both', ['cat', 'dog']), ('plain', ['cat']), ('shots/0001', ['dog'])]
#
# Ids have folders wherever images lie in folders. Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q datumaro==1.13.12
cat > roundtrip.py <<'PYTHON'
import numpy as np
from datumaro.components.annotation import AnnotationType, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image


def show(title, dataset):
    names = [category.name for category in dataset.categories()[AnnotationType.label].items]
    items = sorted((item.id, sorted(names[label.label] for label in item.annotations)) for item in dataset)
    print(f"{title}: {items}")


labels = {"both": [0, 1], "plain": [0], "shots/0001": [1]}
items = [
    DatasetItem(id, media=Image.from_numpy(np.zeros((4, 4, 3), np.uint8)), annotations=[Label(x) for x in numbers])
    for id, numbers in labels.items()
]
dataset = Dataset.from_iterable(items, categories=["cat", "dog"])
show("exported", dataset)
for name in ("imagenet", "imagenet_txt"):
    dataset.export(name, name, save_media=True)
    show(name, Dataset.import_from(name, name))
PYTHON
seen=$(.venv/bin/python roundtrip.py)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
exported: [('both', ['cat', 'dog']), ('plain', ['cat']), ('shots/0001', ['dog'])]
imagenet: [('cat:both', ['cat']), ('cat:plain', ['cat']), ('dog/shots:0001', ['dog/shots']), ('dog:both', ['dog'])]
imagenet_txt: [('both', ['cat', 'dog']), ('plain', ['cat']), ('shots/0001', ['dog'])]
SEEN
