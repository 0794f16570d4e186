"""What several benchmarks read."""

import pandas as pd

from stages.common import dataset, params
from stages.label_audit import features


def read_images():
    """Returns the splits that data/splits holds, the manifest of all their images, and the features of these."""
    p = params.read("batch_size", "model")
    splits = [dataset.load(name) for name in dataset.SPLITS]
    images = pd.concat([split.manifest for split in splits], ignore_index=True)
    return splits, images, features.extract(splits, p.model.weights, p.batch_size)
