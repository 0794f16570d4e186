"""Runs MediaPipe's image classifier, which finds labels and preprocessing inside the LiteRT file."""

import mediapipe
import numpy as np
import runner
from mediapipe.tasks.python import BaseOptions, vision


def load(file):
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=file))
    classifier = vision.ImageClassifier.create_from_options(options)

    def predict(image):
        heads = classifier.classify(mediapipe.Image(mediapipe.ImageFormat.SRGB, image[0])).classifications
        return runner.named(map(scores, heads))

    return predict


def scores(head):
    """Returns the scores of all classes of one output: they come sorted, the greatest first."""
    return np.array([x.score for x in sorted(head.categories, key=lambda category: category.index)], np.float32)


runner.run(load)
