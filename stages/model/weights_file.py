"""Files of the weights of Keras's MobileNetV2 without top, of which only arrays are read."""

from collections import Counter
from itertools import pairwise

import h5py
import keras
import numpy as np

from stages.common.cli import UserError


def read(path: str, base: keras.Model) -> list[np.ndarray]:
    """Returns kernel, gamma, beta, mean and variance of each convolution of a base (mobilenet_v2.fold), in its order.

    The file is `.weights.h5`, which `save_weights` writes, or `..._no_top.h5`, an older layout, which Keras downloads.

    Raises:
        UserError: the file is missing, is no weights file, or does not fit; the first layer that does not fit is named.
    """
    try:
        with h5py.File(path) as file:
            return _read(file, path, base)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. `dvc repro` fetches it if it is one of data/weights/dvc.yaml; "
            "otherwise set model.weights to a file that exists."
        ) from None
    except OSError as error:
        raise UserError(f"{path} is not a complete HDF5 file ({error}). Fetch or save it again.") from None


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
            arrays = _arrays(file, name, kind, numbers[kind])
            numbers[kind] += 1
            if [array.shape for array in arrays] != shapes:
                raise UserError(
                    f"{path} does not fit Keras's MobileNetV2 without top at width 1.0: its weights for layer {name} "
                    "are missing or of another shape. Save the weights of such a network with save_weights(), or take "
                    "Keras's own file ..._no_top.h5."
                )
            weights += arrays
    return weights


def _arrays(file: h5py.File, name: str, kind: str, number: int) -> list[np.ndarray]:
    """Returns the arrays of a layer, the `number`th of its kind, or an empty list if they are missing."""
    try:
        if "layers" in file:
            variables = file[f"layers/{kind}_{number}" if number else f"layers/{kind}"]["vars"]
            return [variables[key][()] for key in sorted(variables)]
        group = file[name]
        return [group[key][()] for key in group.attrs["weight_names"]]
    except KeyError:
        return []
