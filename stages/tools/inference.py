"""What a loaded SavedModel says of image files, batch by batch."""

import collections
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from stages.common.cli import UserError
from stages.evaluation import metrics
from stages.images.decode import decode
from stages.images.find import walk
from stages.model.temperature import scale_probabilities

BATCH = 32  # images; the batches that are decoded ahead take 5 MB each at 224 pixels


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an image shows: the predicted class, its probability, and those of all classes by their names.

    `problem` says why the image cannot be read, and is empty if it can; the others are None if it cannot.
    """

    path: str
    predicted: str | None = None
    probability: float | None = None
    probabilities: dict | None = None
    problem: str = ""


def find(paths):
    """Yields (str, str) for each image in `paths`: its path, and why it cannot be opened, which is empty if it can."""
    for path in map(os.fspath, paths):
        try:
            yield from ((os.path.join(path, below) if below else path, problem) for below, problem in walk(path))
        except OSError as error:
            yield path, error.strerror


def classes_of(model):
    """Returns the C class names of a loaded SavedModel."""
    return [name.decode() for name in model.class_names.numpy()]


def classify(files, model, threshold, calibrated):
    """Predicts what images show.

    Args:
        files: what `find` yields.
        model: what saved_model.load returned.
        threshold, calibrated: as in stages.tools.predict.predict.

    Returns:
        iterator of Prediction, in the order of `files`.

    Raises:
        UserError: the threshold is not in [0, 1], or given for more than two classes.
    """
    classes = classes_of(model)
    if threshold is not None and len(classes) != 2:
        raise UserError(f"a threshold is for two classes, but the model has {len(classes)}: leave it out.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"the threshold is {threshold:g}, but must be from 0 to 1.")
    size, temperature = int(model.image_size), float(model.temperature)

    def judge(batch):
        pixels = [pixels for _, _, pixels in batch if pixels is not None]
        if pixels:
            probabilities = model.signatures["serving_uint8"](images=np.stack(pixels))["probabilities"].numpy()
            if calibrated:
                probabilities = scale_probabilities(probabilities, temperature)
            predicted = metrics.predicted_labels(probabilities, 0.5 if threshold is None else threshold)
            answers = zip(predicted.tolist(), probabilities.tolist())
        for path, problem, pixels in batch:
            if problem:
                yield Prediction(path, problem=problem)
            else:
                label, row = next(answers)
                yield Prediction(path, classes[label], row[label], dict(zip(classes, row)))

    return itertools.chain.from_iterable(map(judge, _decoded(files, size)))


def _decoded(files, size):
    """Yields lists of up to BATCH (path, problem, pixels), decoded by several threads while those before are used.

    Args:
        files: what `find` yields.
        size: side of the images in pixels. `pixels` are uint8 [size, size, 3], or None where there is a problem.
    """

    def read(file):
        path, problem = file
        try:
            return path, problem, None if problem else decode(path, size)[2]
        except ValueError as error:
            return path, str(error), None

    files, ahead = iter(files), collections.deque()
    with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock, and TensorFlow computes without it
        for batch in iter(lambda: list(itertools.islice(files, BATCH)), []):
            ahead.append(pool.map(read, batch))
            if len(ahead) > 2:
                yield list(ahead.popleft())
        while ahead:
            yield list(ahead.popleft())
