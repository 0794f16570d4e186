"""The model card: Markdown with YAML front matter, as the model hubs read it (modelcard.md of huggingface/hub-docs)."""

import re
from pathlib import Path

import yaml

from stages.common import cli
from stages.reporting import formatting, next_steps
from stages.reporting.cards import Card
from stages.reporting.conclusions import Conclusions
from stages.reporting.run import METRICS, Run

HUB_METRICS = {"accuracy": "accuracy", "auc": "roc_auc", "precision": "precision", "recall": "recall", "f1": "f1"}
HUB_TAGS = "image-classification mobilenet_v2 transfer-learning tensorflow saved-model tflite onnx"
SETTINGS = (
    "seed",
    "image_size",
    "background",
    "batch_size",
    "model",
    "augmentation",
    "train",
    "train_frozen",
    "finetune",
)
EXPORTS = {  # format and file, by the keys of data/models/exported/comparison.json
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
    scale = 1 / 256 if image.mode != "F" else 255 if np.max(image) <= 1.05 else 1
    image = Image.fromarray(np.clip(np.asarray(image) * scale, 0, 255).astype("uint8"))
mode = "RGBA" if image.has_transparency_data else image.mode if image.mode in ("L", "CMYK") else "RGB"
image = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
if mode == "RGBA":
    background = Image.new("RGBA", image.size, model.background.numpy().decode())
    image = Image.alpha_composite(background, image).convert("RGB")
with contextlib.suppress(ImageCms.PyCMSError):  # there is no ICC profile, or a broken one
    profile = io.BytesIO(file.info.get("icc_profile", b""))
    image = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
outputs = model(np.asarray(image.convert("RGB"))[np.newaxis])
probabilities, novelty = (outputs[name].numpy()[0].tolist() for name in ("probabilities", "novelty"))
label = probabilities[1] >= float(model.threshold) if len(classes) == 2 else np.argmax(probabilities)
print(classes[label], dict(zip(classes, probabilities)), "unlike the training images" if novelty > 1 else "")"""


def render(run: Run, conclusions: Conclusions) -> str:
    """Returns the card as text."""
    folder, weights = cli.printable(Path(run.p.data.images).name), formatting.markdown(run.p.model.weights)
    images = run.images_card or Card(
        title=folder,
        description=f"The author's own collection: {formatting.markdown(folder)}. **To be filled in: what it shows, "
        "where it comes from, and who is in it.**",
        licence="**To be filled in: the licence of these images, and the consent of people whom they show.**",
    )
    own_weights = Card(
        description=f"MobileNetV2, width 1.0, with weights of the author's own: {weights}.",
        licence="**To be filled in: the licence of these weights.**",
    )
    blocks = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    return formatting.template("model_card.md.jinja", **blocks).render(
        run=run,
        conclusions=conclusions,
        front_matter=front_matter(run, images.title),
        images=images,
        weights=run.weights_card or own_weights,
        settings={key: value for key, value in run.settings.items() if key.split(".")[0] in SETTINGS},
        EXPORTS=EXPORTS,
        usage=USAGE,
        predict=next_steps.PREDICT,
    )


def front_matter(run: Run, title: str) -> str:
    """Returns the metadata as YAML; `title` is that of the dataset.

    `license` is "unknown", the hubs' word for it, until the author chooses one. The identifier under `datasets` comes
    from the title, and names no dataset on a hub. There is no `base_model`, which would name a model on a hub.
    """
    dataset = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "own-images"
    scores, bounds = run.scores.finetuned, run.intervals.finetuned
    names = {key: f"{METRICS[key][0]} (95% interval {formatting.interval(bounds[key])})" for key in HUB_METRICS}
    metrics = [{"type": hub, "value": round(scores[key], 4), "name": names[key]} for key, hub in HUB_METRICS.items()]
    result = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": dataset, "name": title, "split": "test"},
        "metrics": metrics,
    }
    card = {
        "license": "unknown",
        "library_name": "tensorflow",
        "pipeline_tag": "image-classification",
        "tags": HUB_TAGS.split(),
        "datasets": [dataset],
        "metrics": list(HUB_METRICS.values()),
        "model-index": [{"name": f"mobilenet-v2-{dataset}", "results": [result]}],
    }
    return yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120)
