"""Compares training recipes on the validation splits of several data sets.

    python -m tests.benchmarks.recipes FOLDER... [--seeds 5] [--recipes NAME...] [--work FOLDER] [--test]

Each FOLDER holds images, one sub-folder per class. Where FOLDER.csv exists, with columns path and group, the images of
a group stay on one side of a split. For each recipe, folder and seed, both phases run as the pipeline runs them, except
that views of all images are stored once, for all seeds. A recipe is what differs from params.yaml; some replace a part
of the code as well, to try what the project does not have.

Of each recipe it prints means over the seeds: validation loss and accuracy of the frozen and of the fine-tuned model,
not scaled by a temperature; the loss of the worst epoch of fine-tuning over the frozen model's, by mean losses; and how
often the frozen model is kept. With --test it prints loss and accuracy on the test split as well, of the frozen and of
the kept model, scaled by the temperature of the validation split: read them once, when the choice is made. The work
folder keeps the logits of every run, and the weights that are kept; runs that are there are not repeated.
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
from scipy.special import softmax

from stages.common import dataset, params
from stages.common.arrays import ArrayFile
from stages.decoding.decode import MAX_PIXELS
from stages.evaluation.scores import cross_entropy
from stages.labels import sources
from stages.model import backend
from stages.model.temperature import fit_temperature
from stages.splits import assign, near_duplicates, pack

SIZE = 224
COLOUR = {f"augmentation.{name}": 0.2 for name in ("brightness", "contrast", "saturation")}
PLAIN = {"augmentation.crop": 1.0} | dict.fromkeys(COLOUR, 0.0)
# By name: parameters, and which of VARIANTS. The first is what params.yaml has.
RECIPES = {
    "default": {},
    "learning rate 0.00001": {"finetune.learning_rate": 0.00001},
    "learning rate 0.00002": {"finetune.learning_rate": 0.00002},
    "learning rate 0.00004": {"finetune.learning_rate": 0.00004},
    "0.00004 down a cosine": {"finetune.learning_rate": 0.00004, "finetune.schedule": "cosine"},
    "one rate for all kernels, 0.0003": {"one rate": None, "finetune.learning_rate": 0.0003},
    "no averaging": {"finetune.averaging": 0.0},
    "averaged over a tenth": {"finetune.averaging": 0.1},
    "warm-up of a tenth": {"finetune.warmup": 0.1},
    "no crops, no colours": PLAIN,
    "crops of half": {"augmentation.crop": 0.5},
    "20 epochs": {"finetune.epochs": 20},
    "from layer 100": {"finetune.fine_tune_at": 100},
    "from layer 80": {"finetune.fine_tune_at": 80},
    "2 views": {"train.views": 2},
    "dropout 0.5": {"train.dropout": 0.5},
    "no L2 penalty": {"train.l2": 0.0},
    "label smoothing 0.02": {"smoothing": 0.02},
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


def one_rate(_):
    """Adam with the same rate for every kernel, which the folded kernels have without muP."""
    from stages.training import optimizer

    return mock.patch.object(optimizer, "inputs", lambda shape: 1280)


VARIANTS = {"smoothing": smoothing, "one rate": one_rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--work", type=Path, default=Path(".dvc/tmp/recipes"))
    parser.add_argument("--test", action="store_true")
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
                rows.append({"set": folder.name, "recipe": name, **measure(np.load(logits), arguments.test)})
    table = pd.DataFrame(rows).groupby(["set", "recipe"], sort=False).mean()
    epochs = table.filter(regex="^epoch")
    table["worst epoch / frozen"] = epochs.max(axis=1) / table["frozen, loss"]
    print(table.drop(columns=epochs.columns).round(4).to_markdown())


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
    """Returns the images of the training, the validation and the test split."""
    manifest = split.manifest
    if folder.with_suffix(".csv").exists():
        groups = np.random.default_rng(seed).permutation(manifest["group"].unique())
        places = pd.Series(np.arange(len(groups)) * 5 // len(groups), groups)
        part = manifest["group"].map(places).map({0: "test", 1: "validation"}).fillna("train")
    else:
        part = assign.divide(manifest, {"test": 0.2, "validation": 0.2}, seed)
    return tuple(np.flatnonzero(part == name) for name in ("train", "validation", "test"))


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
    """Returns params.yaml with a recipe's changes."""
    tree = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for key, value in {"seed": seed, **recipe}.items():
        *groups, last = key.split(".")
        functools.reduce(dict.__getitem__, groups, tree)[last] = value
    return params.Params.model_validate(tree)


def train(split, rows, name, seed, path):
    """Trains both phases; saves labels and logits of the validation and the test split, and the weights kept."""
    import keras

    from stages.model import network
    from stages.training import fit, learning_rate, model_selection, phase
    from stages.training.validation import Validation
    from stages.training.views import Augmented

    recipe = {key: value for key, value in RECIPES[name].items() if key not in VARIANTS}
    p = parameters(recipe, seed)
    keras.utils.set_random_seed(seed)
    model = network.build(SIZE, len(split.classes))
    network.load_base(model, p.model.weights)
    augmented, frozen, result = Augmented(split, p.augmentation, 0, p.train.views), None, None
    for stage, layer_index in (("train_frozen", params.BASE_LAYERS), ("finetune", p.finetune.fine_tune_at)):
        network.freeze_below(model, layer_index)
        with views_beside(path, layer_index):
            private = path.parent / f"features-{zlib.crc32(repr(augmented.settings).encode())}-"
            views, trained = phase.store_views(model, layer_index, augmented, "float16", private)
            private = path.parent / "features-clean-"
            clean, _ = phase.store_views(model, layer_index, Augmented(split), "float32", private)
        validate, test = (Validation(model, trained, Subset(clean, part), p.batch_size) for part in rows[1:])
        if result:
            frozen = model_selection.measure(model, result.kept | {"epoch": 0}, validate)
            logits = {"frozen": frozen.logits, "test frozen": test()[1]}
        candidate = frozen.row if frozen else None
        settings = p.train_frozen
        if frozen:
            settings = learning_rate.for_fine_tuning(p.finetune, frozen.row["loss"])
        settings = fit.Settings(stage, settings, p.train, p.batch_size, seed, candidate=candidate)
        with contextlib.ExitStack() as patches:
            for variant in RECIPES[name].keys() & VARIANTS.keys() if frozen else ():
                patches.enter_context(VARIANTS[variant](RECIPES[name][variant]))
            checkpoint = SimpleNamespace(path=path, restore=lambda state: ([], []), save=Recorder())
            result = fit.fit(
                model, trained, Subset(views, rows[0]), validate, settings, checkpoint, lambda history, metrics: None
            )
    logits |= {f"epoch {number}": values for number, values in enumerate(checkpoint.save.logits, 1)}
    kept = model_selection.select(result, frozen, model, p.finetune.keep)
    logits |= {"fine-tuned": result.logits, "kept": kept.logits, "test kept": test()[1]}
    labels, test_labels = (split.manifest.iloc[part]["label"] for part in rows[1:])
    np.savez(path, labels=labels, test_labels=test_labels, frozen_is_kept=kept.metrics["model"] == "frozen", **logits)
    np.savez(path.with_suffix(".weights.npz"), *model.get_weights())


@contextlib.contextmanager
def views_beside(path, layer_index):
    """Stored views of blocks lie beside the runs, whatever the code that has computed them."""
    from stages.training import phase

    def key(settings, *_):
        cut = phase.SHARED_AT if layer_index == params.BASE_LAYERS else layer_index
        return f"{zlib.crc32(repr(settings).encode())}-{cut}"

    with mock.patch.object(phase, "folder", lambda: path.parent), mock.patch.object(phase, "key", key):
        yield


def measure(runs, test):
    """Returns loss and accuracy of each model of a run, the loss of each epoch, and if the frozen model is kept."""
    results = {"frozen model kept": float(runs["frozen_is_kept"])}
    for name in ("frozen", "fine-tuned"):
        results |= scores(name, runs[name], runs["labels"])
    for name in runs.files:
        if name.startswith("epoch"):
            results[name] = scores(name, runs[name], runs["labels"])[f"{name}, loss"]
    for name in ("frozen", "kept") if test else ():
        scaled = runs[f"test {name}"] / fit_temperature(runs["labels"], runs[name])
        results |= scores(f"test {name}", scaled, runs["test_labels"])
    return results


def scores(name, logits, labels):
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    losses = cross_entropy(labels, softmax(logits.astype(float), axis=1))
    return {f"{name}, loss": losses.mean(), f"{name}, accuracy": (logits.argmax(axis=1) == labels).mean()}


if __name__ == "__main__":
    main()
