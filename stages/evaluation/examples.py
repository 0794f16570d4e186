"""What people look at after a run: some test images, the worst mistakes, the least certain ones, and Grad-CAM."""

import numpy as np

from stages.common import dataset
from stages.evaluation import gradcam

SAMPLES = 16  # images of the whole test split
EXPLAINED = 16  # images with a heat map,
WRONG = 8  # up to so many of them wrongly predicted
CLASSES = 10  # classes on the sheets of mistakes and of uncertain images,
PER_CLASS = 6  # with up to so many images each


def save(path, model, split, predictions):
    """Writes what the plot stage shows of single images as .npz.

    That is, for each sheet of samples, mistakes, uncertain and gradcam, `{sheet}_rows`, int [K], rows of `predictions`,
    and `{sheet}_pixels`, uint8 [K, size, size, 3]; and `gradcam_maps`, float32 [K, size, size] in [0, 1], for the
    predicted class (gradcam.maps). K may be 0.

    Args:
        path: of the file.
        model: the SavedModel that made the predictions, loaded.
        split: dataset.Split, of N images.
        predictions: N rows in the order of `split`, with the class names actual and predicted, probability, and margin
            (the largest minus the second largest probability).
    """
    sheets = {
        "samples": samples(predictions),
        "mistakes": mistakes(predictions),
        "uncertain": uncertain(predictions),
        "gradcam": for_gradcam(predictions),
    }
    arrays = {}
    for name, rows in sheets.items():
        arrays[f"{name}_rows"], arrays[f"{name}_pixels"] = rows, split.pixels[rows]
    labels = np.array(
        [split.classes.index(name) for name in predictions["predicted"].iloc[sheets["gradcam"]]], np.int64
    )
    arrays["gradcam_maps"] = gradcam.maps(model.feature_maps, model.weights[-2], arrays["gradcam_pixels"], labels)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def samples(predictions):
    """Returns evenly spaced rows of the table, int [K], sorted by class as it is: every class shows, and no chance plays."""
    return dataset.evenly_spaced(np.arange(len(predictions)), SAMPLES)


def mistakes(predictions):
    """Returns rows of wrong predictions, int [K]: of the classes that have most of them, the most confident first."""
    rows = np.flatnonzero(predictions["actual"] != predictions["predicted"])
    counts = predictions["actual"].iloc[rows].value_counts()
    return _by_class(predictions, rows, -predictions["probability"], -counts)


def uncertain(predictions):
    """Returns rows of the least certain predictions, int [K]: of the classes with the lowest mean margin, the lowest first."""
    margins = predictions.groupby("actual")["margin"].mean()
    return _by_class(predictions, np.arange(len(predictions)), predictions["margin"], margins)


def for_gradcam(predictions):
    """Returns rows, int [K], of wrong predictions, then of right ones, both as evenly over the true classes as they can be.

    WRONG of EXPLAINED are wrong if there are so many; more only where there are too few right ones.
    """
    right = (predictions["actual"] == predictions["predicted"]).to_numpy()
    wrong = _even(predictions, np.flatnonzero(~right), max(WRONG, EXPLAINED - right.sum()))
    return np.concatenate([wrong, _even(predictions, np.flatnonzero(right), EXPLAINED - len(wrong))])


def _by_class(predictions, rows, order, class_order):
    """Picks from `rows`, class by class in the order of names, PER_CLASS with the lowest `order` of CLASSES with the lowest
    `class_order`; both are Series, over the rows of the table and over the names of classes."""
    table = predictions.iloc[rows].assign(order=order.iloc[rows].to_numpy(), row=rows)
    shown = class_order.sort_index().sort_values(kind="stable").index[:CLASSES]
    table = table[table["actual"].isin(shown)].sort_values(["actual", "order"], kind="stable")
    return table.groupby("actual").head(PER_CLASS)["row"].to_numpy()


def _even(predictions, rows, count):
    """Picks `count` of `rows`, spread over the classes and over the images of each, in the order of the table."""
    actual = predictions["actual"].iloc[rows].reset_index(drop=True)
    actual = actual[actual.isin(dataset.evenly_spaced(actual.unique(), count))]
    turns = (
        actual.groupby(actual).cumcount().sort_values(kind="stable").index[:count]
    )  # one of each class, then a second
    shares = actual[turns].value_counts()
    places = [dataset.evenly_spaced(part.index.to_numpy(), shares[name]) for name, part in actual.groupby(actual)]
    return rows[np.sort(np.concatenate([np.arange(0), *places]))]
