"""Writes shards of WebDataset of images whose names begin with their class, or with `none`: IMAGES OUT."""

import sys
import tarfile
from pathlib import Path

from webdataset import ShardWriter

images, out = map(Path, sys.argv[1:])
(out / "shards").mkdir(parents=True)
with ShardWriter(str(out / "shards/images-%06d.tar"), maxcount=10) as writer:
    for path in sorted(images.iterdir()):
        name = path.stem.split("_")[0]
        sample = {"__key__": path.stem, "png": path.read_bytes(), "json": {"label": name}}
        writer.write(sample if name == "none" else sample | {"cls": ["cat", "dog"].index(name)})
for path in sorted((out / "shards").iterdir()):
    with tarfile.open(path) as shard:
        shard.extractall(out / "unpacked", filter="data")
