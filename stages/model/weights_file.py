"""Files of the weights of Keras's MobileNetV2 without top, of which only arrays are read."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import h5py
import keras
import numpy as np

from stages.common.cli import UserError

LARGEST = 65504  # largest absolute value of a weight: that of float16, in which mixed precision computes


def read(path: str, base: keras.Model) -> list[np.ndarray]:
    """Returns kernel, gamma, beta, mean and variance of each convolution of a base (mobilenet_v2.fold), in its order.

    The file is `.weights.h5`, which `save_weights` writes, or `..._no_top.h5`, an older layout, which Keras downloads.

    Raises:
        UserError: the file is missing, is no weights file, or does not fit, or its numbers are no weights; the first
            layer or array at fault is named.
    """
    try:
        with h5py.File(path) as file:
            return _read(file, path, base)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. `dvc repro` fetches it if it is one of data/weights/dvc.yaml; "
            "otherwise set model.weights to a file that exists."
        ) from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # its type depends on which bytes of the file are missing or changed
        raise UserError(f"{path} is not a complete HDF5 file ({error}). Fetch or save it again.") from None


def check_numbers(array: np.ndarray, name: str, path: str) -> None:
    """Raises a UserError if an array of a weights file has numbers that no layer can compute with.

    Args:
        array: the array, of any type.
        name: name of the array, for the text of the error.
        path: path of the file.
    """
    if not np.issubdtype(array.dtype, np.floating):
        fault = f"holds numbers of type {array.dtype}, which are not floating-point"
    elif not np.isfinite(array).all():
        fault = "holds NaN or infinity"
    elif np.abs(array).max(initial=0) > LARGEST:
        fault = f"holds {array.flat[np.abs(array).argmax()]:.3g}, beyond the range of float16, {LARGEST}"
    else:
        return
    raise UserError(
        f"{path}: {name} {fault}. A training that diverged or an interrupted conversion leaves such weights: fetch or "
        "save them again, or set model.weights to another file."
    )


def _read(file: h5py.File, path: str, base: keras.Model) -> list[np.ndarray]:
    weights: list[np.ndarray] = []
    numbers = Counter[str]()  # of layers so far, by their kind
    for layer, following in pairwise(base.layers):
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            continue
        kind = "depthwise_conv2d" if isinstance(layer, keras.layers.DepthwiseConv2D) else "conv2d"
        convolution = layer.name, kind, [layer.kernel.shape]
        normalization = following.name, "batch_normalization", [layer.bias.shape] * 4
        for name, kind, shapes in (convolution, normalization):
            datasets = _datasets(file, name, kind, numbers[kind])
            numbers[kind] += 1
            if [getattr(dataset, "shape", None) for dataset in datasets] != shapes:  # a group has none
                raise UserError(
                    f"{path} does not fit Keras's MobileNetV2 without top at width 1.0: its weights for layer {name} "
                    "are missing or of another shape. Save the weights of such a network with save_weights(), or take "
                    "Keras's own file ..._no_top.h5."
                )
            weights += _arrays(datasets, name, path)
    return weights


def _arrays(datasets: Sequence[h5py.Dataset], layer: str, path: str) -> list[np.ndarray]:
    """Returns the arrays of a layer, after checking their numbers. The fourth is the variance of a normalization."""
    arrays = [dataset[()] for dataset in datasets]
    for number, (dataset, array) in enumerate(zip(datasets, arrays, strict=True)):
        name = f"the array {dataset.name.lstrip('/')} of layer {layer}"
        check_numbers(array, name, path)
        if number == 3 and array.min() < 0:
            raise UserError(
                f"{path}: {name} holds {array.min():.3g}, but no variance is negative. Fetch or save it again."
            )
    return arrays


def _datasets(file: h5py.File, name: str, kind: str, number: int) -> list[h5py.Dataset]:
    """Returns the arrays of a layer, the `number`th of its kind, unread, or an empty list if they are missing."""
    try:
        if "layers" in file:
            variables = file[f"layers/{kind}_{number}" if number else f"layers/{kind}"]["vars"]
            return [variables[key] for key in sorted(variables)]
        group = file[name]
        return [group[key] for key in group.attrs["weight_names"]]
    except KeyError:
        return []
