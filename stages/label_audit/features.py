"""Feature extraction with the base as its weights file has it, before any training."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from stages.common import dataset
from stages.common.arrays import Features
from stages.model import network
from stages.model.backend import release_memory


def extract(splits: Sequence[dataset.Split], weights: str, batch_size: int) -> Features:
    """Returns the pooled output of the base, with weights from a file, for all images of splits of one image size.

    The pixels are read from disk batch by batch; the features, 5 kB an image, stay in memory.
    """
    model = network.build(splits[0].image_size, len(splits[0].classes))
    network.load_base(model, weights)
    extractor = network.feature_extractor(model)
    signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)]
    step = tf.function(extractor, autograph=False, input_signature=signature)
    features = np.empty((sum(len(split.labels) for split in splits), extractor.output_shape[1]), np.float32)
    done = 0
    with tqdm(None, "extracting features", len(features), unit="image", disable=None) as progress:
        for split in splits:
            batches = [slice(first, first + batch_size) for first in range(0, len(split.labels), batch_size)]
            for pixels in dataset.read_ahead(split.pixels.__getitem__, batches):
                features[done : done + len(pixels)] = step(pixels)
                done += len(pixels)
                progress.update(len(pixels))
    release_memory()  # scikit-learn copies four fifths of the features
    return features
