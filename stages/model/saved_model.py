"""The model on disk: a TensorFlow SavedModel for serving, from which fine-tuning continues, too.

Every function raises a UserError if a SavedModel is missing or incomplete, or cannot be written.
"""

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import ImageColor
from tensorflow.python import pywrap_tfe

from stages.common.cli import UserError
from stages.model import novelty, serving_decoder

ARRAYS = "variables/variables"  # prefix of the files of a SavedModel that hold the variables
NUMBERS = itertools.count(10**12)  # numbers in names, none twice: the functions of a process have names of their own
VALUE = ".ATTRIBUTES/VARIABLE_VALUE"  # suffix of the name of a variable in these files
# What a SavedModel of ours has: dtype and rank of its variables; signatures' outputs and inputs; other attributes.
VARIABLES = {
    "class_names": (tf.string, 1),
    "image_size": (tf.int32, 0),
    "background": (tf.string, 0),
    "temperature": (tf.float32, 0),
    "threshold": (tf.float64, 0),
    "set_threshold": (tf.float64, 0),
    "novelty_mean": (tf.float32, 1),
    "novelty_components": (tf.float32, 2),
    "novelty_threshold": (tf.float32, 0),
}
OUTPUTS = ["novelty", "probabilities"]  # of each signature, in TensorFlow's order
SIGNATURES = {"serving_default": "images", "serving_uint8": "images", "serving_bytes": "image_bytes"}
ATTRIBUTES = ("weights", "predict")


def save(
    network: keras.Model, classes: Sequence[str], temperature: float, folder: Path, background: str = "white"
) -> None:
    """Writes a SavedModel, with the same bytes each time for the same weights.

    `tf.saved_model.load(folder)` gives an object with

    - `signatures["serving_default"]`: `images`, float32 [N, image_size, image_size, 3], raw pixels in [0, 255], to
      {"probabilities": float32 [N, C], "novelty": float32 [N]}. The columns are in the order of `class_names`; where
      novelty is above 1, the image is unlike the training images (novelty.residuals over `novelty_threshold`);
      `signatures["serving_uint8"]`: the same from uint8. Called as a function, the object takes either type;
    - `signatures["serving_bytes"]`: the same from `image_bytes`, string [N], complete JPEG or PNG files, which
      serving_decoder.decode reads. One that it cannot read fails the whole call. TensorFlow Serving takes them in
      Base64, {"b64": ...}, because the name ends in _bytes;
    - `predict`, a function from uint8 [N, image_size, image_size, 3] to these outputs and what led to them, a dict:
      `feature_maps`, the output of MobileNetV2, float32 [N, image_size / 32, image_size / 32, 1280]; `features`, their
      means, float32 [N, 1280], which the head takes; `probabilities` and `novelty`;
    - `class_names`, str [C], `image_size`, int32 [], `background`, str [], the colour, #rrggbb, on which transparent
      images are composited, `temperature`, float32 [] (temperature.scale_probabilities), as variables;
    - variables that `copy` sets: `threshold`, float64 [] (scores.predict), 0.5 until then; `set_threshold`, float64 [],
      the lowest probability of a class in a prediction set, 0 until then; and those of the novelty: `novelty_mean`,
      float32 [1280], and `novelty_components`, float32 [novelty.COMPONENTS, 1280], 0 until then (so are rows that are
      not needed), and `novelty_threshold`, float32 [], infinite until then, with which the novelty is 0;
    - `weights`, the variables of the network in Keras's order.

    `background` is the name of a colour that Pillow knows, or #rrggbb. The folder must not exist yet.
    """
    with _same_names(), _explain_write_errors(folder):
        module, signatures = _serving_module(network, classes, temperature, background)
        tf.saved_model.save(module, str(folder), signatures)
    (folder / "fingerprint.pb").unlink()  # optional, and holds a random number


def copy(source: str, target: Path, values: Mapping[str, Any]) -> None:
    """Copies a SavedModel that `save` wrote to a new path, with the same bytes each time.

    `values` has new values of its variables by name, such as "threshold", and "weights/0" for the first weight. Copying
    takes a tenth of the time of `save`.
    """
    with _explain_read_errors(source):
        reader = tf.train.load_checkpoint(f"{source}/{ARRAYS}")
        types = reader.get_variable_to_dtype_map()
        arrays = {name: reader.get_tensor(name) for name in sorted(types)}
    arrays |= {f"{name}/{VALUE}": np.asarray(x, types[f"{name}/{VALUE}"].as_numpy_dtype) for name, x in values.items()}
    names, tensors, slices = list(arrays), list(arrays.values()), [""] * len(arrays)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("variables.*"))
    with _explain_write_errors(target):
        tf.raw_ops.SaveV2(prefix=f"{target}/{ARRAYS}", tensor_names=names, shape_and_slices=slices, tensors=tensors)


def load(folder: str | Path) -> Any:
    """Loads a SavedModel that `save` wrote."""
    check_process()
    with _explain_read_errors(folder), tempfile.TemporaryDirectory() as place:
        path = Path(folder)
        if set("[\\") & set(str(path)):  # TensorFlow would take the path for a pattern
            path = Path(place) / "model"
            path.symlink_to(os.path.abspath(folder))
        model = tf.saved_model.load(path)
    if foreign := _foreign_part(model):
        raise UserError(
            f"{folder} holds a SavedModel of another program, or of an earlier version: run `dvc repro` (its {foreign} "
            "is missing or of another type)."
        )
    return model


def _foreign_part(model: Any) -> str | None:
    """Returns the name of what a loaded SavedModel lacks or has otherwise than `save` writes it; None if nothing."""
    for name, (dtype, rank) in VARIABLES.items():
        variable = getattr(model, name, None)
        if not isinstance(variable, tf.Variable) or (variable.dtype, variable.shape.rank) != (dtype, rank):
            return name
    for name, images in SIGNATURES.items():
        signature = model.signatures.get(name)
        if signature is None or list(signature.structured_input_signature[1]) != [images]:
            return f"signature {name}"
        if sorted(signature.structured_outputs) != OUTPUTS:
            return f"signature {name}"
    return next((name for name in ATTRIBUTES if not hasattr(model, name)), None)


def check_process() -> None:
    """Raises a UserError in a process that was forked after a model was loaded: it would wait for ever.

    TensorFlow's threads, which compute, are not in the fork.
    """
    if _first_process() != os.getpid():
        raise UserError(
            "this process was forked from one that had loaded a model, and TensorFlow does not run in such a fork: "
            "load the model in each worker after the fork, or start workers by spawn."
        )


@functools.cache
def _first_process() -> int:
    """Returns the number of the process that called this first; a fork takes it over."""
    return os.getpid()


def restore(weights: Sequence[Any], folder: str | Path) -> float:
    """Gives variables the values of a SavedModel that `save` wrote, and returns its temperature.

    The variables are those of a network of the same size and classes, or `weights` of a loaded SavedModel. Only arrays
    are read: loading the whole SavedModel takes ten times as long.
    """
    with _explain_read_errors(folder):
        reader = tf.train.load_checkpoint(f"{folder}/{ARRAYS}")
        for number, variable in enumerate(weights):
            variable.assign(reader.get_tensor(f"weights/{number}/{VALUE}"))
        return float(reader.get_tensor(f"temperature/{VALUE}"))


def read_pca(folder: str | Path) -> novelty.PCA:
    """Returns what the novelty of a SavedModel is computed with."""
    with _explain_read_errors(folder):
        reader = tf.train.load_checkpoint(f"{folder}/{ARRAYS}")
        values = [reader.get_tensor(f"novelty_{name}/{VALUE}") for name in ("mean", "components", "threshold")]
    return novelty.PCA(*values)


@contextlib.contextmanager
def _same_names() -> Iterator[None]:
    """Gives functions that the block traces the same names in every process.

    Names end in TensorFlow's running number, which depends on what the process did before: every tensor takes one. The
    block takes NUMBERS in its place, which no training reaches.
    """
    uid, pywrap_tfe.TFE_Py_UID = pywrap_tfe.TFE_Py_UID, NUMBERS.__next__
    try:
        yield
    finally:
        pywrap_tfe.TFE_Py_UID = uid


@contextlib.contextmanager
def _explain_read_errors(folder: str | Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # its type depends on what is missing or truncated
        raise UserError(f"{folder} holds no complete SavedModel of this pipeline: run `dvc repro` ({error}).") from None


@contextlib.contextmanager
def _explain_write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:  # TensorFlow does not report a full disk as an OSError
        raise UserError(f"{folder} cannot be written: {error.message}. Fix that and run again.") from None


def _serving_module(
    network: keras.Model, classes: Sequence[str], temperature: float, background: str
) -> tuple[tf.Module, dict]:
    """Returns the object that `save` writes, and its signatures.

    It keeps the variables in a list in Keras's order: Keras's own export names and orders them differently every time.
    """
    size = network.input_shape[1]
    base_end = [layer.name for layer in network.layers].index("base") + 1
    pooling, *head = network.layers[base_end:]
    module = tf.Module()
    _add_variables(module, network, classes, temperature, background)
    floats, integers = [tf.TensorSpec([None, size, size, 3], dtype, name="images") for dtype in (tf.float32, tf.uint8)]

    @tf.function(autograph=False, input_signature=[floats])
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        for layer in network.layers[1:base_end]:
            images = layer(images)
        features = logits = pooling(images)
        for layer in head:
            logits = layer(logits)
        if len(classes) == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
            logits *= tf.constant([0.0, 1.0])
        residuals = novelty.residuals(
            features, module.novelty_mean, lambda x: tf.matmul(x, module.novelty_components, transpose_b=True)
        )
        return {
            "feature_maps": images,
            "features": features,
            "probabilities": tf.nn.softmax(logits),
            "novelty": residuals / module.novelty_threshold,
        }

    predict = predict.get_concrete_function()  # traced once for all signatures

    @tf.function(autograph=False)
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = predict(tf.cast(images, tf.float32))
        return {name: outputs[name] for name in OUTPUTS}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def classify_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        square = tf.TensorSpec([size, size, 3], tf.uint8)
        decode = functools.partial(serving_decoder.decode, size=size, background=background)
        return classify(tf.map_fn(decode, image_bytes, fn_output_signature=square))

    module.__call__ = classify
    module.predict = tf.function(
        lambda images: predict(tf.cast(images, tf.float32)), autograph=False, input_signature=[integers]
    )
    return module, {
        "serving_default": classify.get_concrete_function(floats),
        "serving_uint8": classify.get_concrete_function(integers),
        "serving_bytes": classify_bytes.get_concrete_function(),
    }


def _add_variables(
    module: tf.Module, network: keras.Model, classes: Sequence[str], temperature: float, background: str
) -> None:
    """Gives the object that `save` writes its variables."""
    features = network.layers[-1].input.shape[1]
    values = {
        "class_names": list(classes),
        "image_size": network.input_shape[1],
        "background": f"#{bytes(ImageColor.getrgb(background)).hex()}",
        "temperature": temperature,
        "threshold": 0.5,  # a float32 would round the threshold
        "set_threshold": 0,
        "novelty_mean": tf.zeros(features),
        "novelty_components": tf.zeros([novelty.COMPONENTS, features]),
        "novelty_threshold": np.inf,
    }
    module.weights = [weight.value for weight in network.weights]
    for name, (dtype, _) in VARIABLES.items():
        setattr(module, name, tf.Variable(values[name], trainable=False, dtype=dtype))
