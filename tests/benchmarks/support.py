"""What several benchmarks read."""

import numpy as np
import pandas as pd

from stages.common import dataset, params
from stages.model import network, onnx_engine


def read_images():
    """Returns the splits that data/splits holds, the manifest of all their images, and the features of these."""
    p = params.read("model")
    splits = [dataset.load(name) for name in dataset.SPLITS]
    images = pd.concat([split.manifest for split in splits], ignore_index=True)
    return splits, images, extract(splits, p.model.weights)


def extract(splits, weights):
    """Returns the features of the images of all splits before any training, as the audit finds them."""
    model = network.build(splits[0].image_size, len(splits[0].classes))
    network.load_base(model, weights)
    compute = onnx_engine.to_function(network.feature_extractor(model))
    return np.concatenate([compute(split.pixels[:].astype(np.float32)) for split in splits])
