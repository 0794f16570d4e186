"""Compares training recipes on the validation splits of several data sets. Test splits are never read.

    python -m tests.benchmarks.recipes FOLDER... [--seeds 5] [--recipes NAME...] [--work FOLDER]

Each FOLDER holds images, one sub-folder per class. Where FOLDER.csv exists, with columns path and group, the images of
a group stay on one side of a split. For each recipe, folder and seed, both phases run as the pipeline runs them, except
that views of all images are stored once, for all seeds. A recipe is what differs from params.yaml; some replace a part
of the code as well, to try what the project does not have.

Of each recipe it prints mean validation loss and accuracy: of the frozen model; of the last epoch of fine-tuning; of
mixes with the frozen model's weights; and of the mix that is chosen on four fifths of the validation split and measured
on the other fifth, in turn, so that no image is in both. The work folder keeps the logits of every run; runs that are
there are not repeated.
"""

import argparse
import contextlib
import functools
import zlib
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import yaml
from scipy.special import log_softmax

from stages.common import dataset, params
from stages.common.arrays import ArrayFile
from stages.decoding.decode import MAX_PIXELS
from stages.labels import sources
from stages.model import backend
from stages.splits import assign, near_duplicates, pack

SIZE = 224
FRACTIONS = (0.25, 0.5, 0.75)
COLOUR = {f"augmentation.{name}": 0.2 for name in ("brightness", "contrast", "saturation")}
PLAIN = {"augmentation.crop": 1.0} | dict.fromkeys(COLOUR, 0.0)
# By name: parameters, and which of VARIANTS. The first is what params.yaml has.
RECIPES = {
    "default": {},
    "learning rate 0.0001": {"finetune.learning_rate": 0.0001},
    "learning rate 0.0003": {"finetune.learning_rate": 0.0003},
    "no crops, no colours": PLAIN,
    "crops of half": {"augmentation.crop": 0.5},
    "no warm-up": {"finetune.warmup": 0.0},
    "constant rate": {"finetune.schedule": "constant"},
    "20 epochs": {"finetune.epochs": 20},
    "2 views": {"train.views": 2},
    "5 views": {"train.views": 5},
    "dropout 0.5": {"train.dropout": 0.5},
    "no L2 penalty": {"train.l2": 0.0},
    "label smoothing 0.02": {"smoothing": 0.02},
    "SGD, 0.0003, momentum 0.9": {"finetune.learning_rate": 0.0003, "momentum": 0.9},
    "weight decay 1": {"weight decay": 1.0},
}


def smoothing(amount):
    """Label smoothing (C. Szegedy et al., CVPR 2016, section 7)."""
    import tensorflow as tf

    from stages.training import validation

    plain = validation.losses

    def smoothed(logits, labels):
        classes = max(2, logits.shape[1])
        of_all = [plain(logits, tf.fill(tf.shape(labels), tf.cast(number, labels.dtype))) for number in range(classes)]
        return (1 - amount) * plain(logits, labels) + amount * tf.add_n(of_all) / classes

    return mock.patch.object(validation, "losses", smoothed)


def optimizer(kind, **options):
    """Another optimizer of Keras in place of Adam."""
    import keras

    from stages.training import step

    def build(network, learning_rate):
        made = getattr(keras.optimizers, kind)(learning_rate, **options)
        made.build(network.trainable_variables)
        return made

    return mock.patch.object(step, "make_optimizer", build)


VARIANTS = {
    "smoothing": smoothing,
    "momentum": lambda momentum: optimizer("SGD", momentum=momentum),
    "weight decay": lambda decay: optimizer("AdamW", weight_decay=decay),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--work", type=Path, default=Path(".dvc/tmp/recipes"))
    arguments = parser.parse_args()
    backend.configure()
    rows = []
    for folder in arguments.folders:
        work = (arguments.work / folder.name).absolute()
        split = pack_folder(folder, work)
        for name in arguments.recipes:
            for seed in range(1, arguments.seeds + 1):
                logits = work / f"{name}-{seed}.npz"
                if not logits.exists():
                    train(split, partition_rows(split, folder, seed), name, seed, logits)
                rows.append({"set": folder.name, "recipe": name, **measure(np.load(logits))})
    print(pd.DataFrame(rows).groupby(["set", "recipe"], sort=False).mean().round(4).to_markdown())


def pack_folder(folder, work):
    """Decodes all images of a folder once; returns them as one dataset.Split, labels and groups included."""
    work.mkdir(parents=True, exist_ok=True)
    images, manifest = sources.find(params.Data(images=str(folder))).images, work / "manifest.csv"
    if not manifest.exists():
        pixels = ArrayFile.create(work / "pixels.npy", (len(images), SIZE, SIZE, 3))
        thumbnails = ArrayFile.create(work / "thumbnails.npy", (len(images), *2 * [near_duplicates.SIDE], 3))
        table, fingerprints = pack.pack_images(folder, images, pixels, thumbnails, MAX_PIXELS)
        table["group"] = table["duplicates"] = near_duplicates.find(fingerprints, thumbnails)
        if folder.with_suffix(".csv").exists():
            groups = pd.read_csv(folder.with_suffix(".csv")).set_index("path")["group"]
            table["group"] = table["path"].map(groups).astype("category").cat.codes
        table["label"] = table["class"].astype("category").cat.codes
        table.to_csv(manifest, index=False)
    table = pd.read_csv(manifest).astype({"label": np.int64})
    return dataset.Split(ArrayFile(work / "pixels.npy"), table, sorted(table["class"].unique()))


def partition_rows(split, folder, seed):
    """Returns which images are in the training split, and which in the validation split."""
    manifest = split.manifest
    if folder.with_suffix(".csv").exists():
        groups = np.random.default_rng(seed).permutation(manifest["group"].unique())
        places = pd.Series(np.arange(len(groups)) * 5 // len(groups), groups)
        part = manifest["group"].map(places).map({0: "test", 1: "validation"}).fillna("train")
    else:
        part = assign.divide(manifest, {"test": 0.2, "validation": 0.2}, seed)
    return np.flatnonzero(part == "train"), np.flatnonzero(part == "validation")


class Subset:
    """The views of some images of a split: what training needs of Views."""

    def __init__(self, views, rows):
        self.views, self.rows, self.count, self.spec = views, rows, views.count, views.spec
        self.split = dataset.Split(views.split.pixels, views.split.manifest.iloc[rows], views.split.classes)

    def read(self, rows, views):
        return self.views.read(self.rows[rows], views)


class Recorder:
    """Keeps the validation logits of every epoch; called as Checkpoint.save."""

    def __init__(self):
        self.logits = []

    def __call__(self, rows, state, best):
        self.logits.append(best[0])


def parameters(recipe, seed):
    """Returns params.yaml with a recipe's changes, and all of the fine-tuned weights kept."""
    tree = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for key, value in {"seed": seed, "finetune.mix": 1.0, **recipe}.items():
        *groups, last = key.split(".")
        functools.reduce(dict.__getitem__, groups, tree)[last] = value
    return params.Params.model_validate(tree)


def train(split, rows, name, seed, path):
    """Trains both phases and saves labels, groups and logits of the validation split, by what they are of."""
    import keras

    from stages.model import network
    from stages.training import fit, phase, weight_averaging
    from stages.training.validation import Validation
    from stages.training.views import Augmented

    recipe = {key: value for key, value in RECIPES[name].items() if key not in VARIANTS}
    p = parameters(recipe, seed)
    keras.utils.set_random_seed(seed)
    model = network.build(SIZE, len(split.classes))
    network.load_base(model, p.model.weights)
    logits, start = {}, None
    augmented = Augmented(split, p.augmentation, 0, p.train.views)
    features = path.parent / f"features-{zlib.crc32(repr(augmented.settings).encode())}-"
    for stage, layer_index in (("train_frozen", params.BASE_LAYERS), ("finetune", p.finetune.fine_tune_at)):
        network.freeze_below(model, layer_index)
        views, trained = phase.store_views(model, layer_index, augmented, "float16", features)
        clean, _ = phase.store_views(model, layer_index, Augmented(split), "float32", path.parent / "features-clean-")
        validate = Validation(model, trained, Subset(clean, rows[1]), p.batch_size)
        settings = fit.Settings(stage, getattr(p, stage), p.train, p.batch_size, seed, candidate=start)
        weights = model.get_weights()
        with contextlib.ExitStack() as patches:
            for variant in RECIPES[name].keys() & VARIANTS.keys() if stage == "finetune" else ():
                patches.enter_context(VARIANTS[variant](RECIPES[name][variant]))
            checkpoint = SimpleNamespace(path=path, restore=lambda state: ([], []), save=Recorder())
            result = fit.fit(
                model, trained, Subset(views, rows[0]), validate, settings, checkpoint, lambda history, metrics: None
            )
        start = result.kept | {"epoch": 0}
        logits["frozen" if stage == "train_frozen" else "last"] = result.logits
    tuned, frozen = model.get_weights(), weight_averaging.FrozenModel(start, weights, {})
    for fraction in FRACTIONS:
        model.set_weights(tuned)
        logits[f"mix {fraction}"] = weight_averaging.mix(result, frozen, model, validate, fraction).logits
    manifest = split.manifest.iloc[rows[1]]
    epochs = {f"epoch {number}": values for number, values in enumerate(checkpoint.save.logits, 1)}
    np.savez(path, labels=manifest["label"], groups=manifest["group"], **logits, **epochs)


def measure(runs):
    """Returns validation loss and accuracy of each model of a run, and of those that are chosen."""
    labels, groups = runs["labels"], runs["groups"]
    names = [name for name in runs.files if name not in ("labels", "groups")]
    losses, correct = {}, {}
    for name in names:
        logits = runs[name].astype(float)
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        losses[name] = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        correct[name] = logits.argmax(axis=1) == labels
    shown = {name: (losses[name], correct[name]) for name in names if not name.startswith("epoch")}
    mixes = ["frozen", *(f"mix {fraction}" for fraction in FRACTIONS)]
    for title, candidates in {
        "best mix": mixes,
        "best mix or last": [*mixes, "last"],
        "best epoch or frozen": ["frozen", *(name for name in names if name.startswith("epoch"))],
    }.items():
        fold = np.random.default_rng(0).permutation(groups.max() + 1)[groups] % 5
        shown[title] = np.zeros(len(labels)), np.zeros(len(labels))
        for out in range(5):
            best = min(candidates, key=lambda name: losses[name][fold != out].mean())
            for target, values in zip(shown[title], (losses[best], correct[best]), strict=True):
                target[fold == out] = values[fold == out]
    return {
        f"{title}, {kind}": values.mean()
        for title, pair in shown.items()
        for kind, values in zip(("loss", "accuracy"), pair, strict=True)
    }


if __name__ == "__main__":
    main()
