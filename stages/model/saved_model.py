"""The model on disk: a TensorFlow SavedModel that serves by itself and that fine-tuning continues from."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from stages.common.cli import UserError
from stages.model import serving_decoder

VALUE = ".ATTRIBUTES/VARIABLE_VALUE"  # ends the name of a variable's array in a checkpoint


def save(network: keras.Model, classes: Sequence[str], temperature: float, folder: Path) -> None:
    """Writes a SavedModel, with the same bytes each time for the same weights.

    `tf.saved_model.load(folder)` gives an object with

    - `signatures["serving_default"]`: `images`, float32 [N, image_size, image_size, 3], raw pixels in [0, 255], to
      {"probabilities": float32 [N, C]}, the columns in the order of `class_names`; `signatures["serving_uint8"]`: the
      same from uint8. Called as a function, the object takes either type;
    - `signatures["serving_bytes"]`: `image_bytes`, string [N], complete JPEG or PNG files, to the same, as
      serving_decoder.decode reads them. One that it cannot read fails the whole call. TensorFlow Serving takes them in
      Base64, {"b64": ...}, because the name ends in _bytes;
    - `feature_maps`, a function from uint8 [N, image_size, image_size, 3] to what comes out of MobileNetV2, float32
      [N, image_size / 32, image_size / 32, 1280], before global average pooling and the head;
    - `class_names`, str [C], `image_size`, int32 [], `temperature`, float32 [] (temperature.scale_probabilities), and
      `threshold`, float64 [] (scores.predict), 0.5 until `copy_with_threshold` sets another, as variables;
    - `weights`, the variables of the network in Keras's order.

    Args:
        network: what network.build made.
        classes: C class names.
        temperature: what temperature.fit_temperature returns for the network.
        folder: a path that does not exist yet.

    Raises:
        UserError: it cannot be written.
    """
    _save_reproducibly(lambda: _serving_module(network, classes, temperature), folder)


def copy_with_threshold(source: str, target: Path, threshold: float) -> None:
    """Copies a SavedModel that `save` wrote and sets its variable `threshold`, with the same bytes each time.

    Args:
        source: folder of the SavedModel.
        target: a path that does not exist yet.
        threshold: the probability of the second of two classes from which on it is predicted.

    Raises:
        UserError: there is no complete SavedModel, or the copy cannot be written.
    """
    path = "variables/variables"
    try:
        reader = tf.train.load_checkpoint(f"{source}/{path}")
        arrays = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_dtype_map())}
    except Exception as error:  # of many types, depending on what is missing or truncated
        raise UserError(f"{source} holds no complete SavedModel: run `dvc repro` ({error}).") from None
    arrays[f"threshold/{VALUE}"] = np.float64(threshold)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("variables.*"))
    try:
        tf.raw_ops.SaveV2(
            prefix=str(target / path),
            tensor_names=list(arrays),
            shape_and_slices=[""] * len(arrays),
            tensors=list(arrays.values()),
        )
    except tf.errors.OpError as error:  # a full disk, which TensorFlow does not report as an OSError
        raise UserError(f"{target} cannot be written: {error.message}. Fix that and run again.") from None


def load(folder: str | Path) -> Any:
    """Loads a SavedModel that `save` wrote.

    Raises:
        UserError: there is none, or it is incomplete.
    """
    try:
        with tempfile.TemporaryDirectory() as place:
            path = Path(folder)
            if set("[\\") & set(str(path)):  # TensorFlow would look for files that match a pattern
                path = Path(place) / "model"
                path.symlink_to(os.path.abspath(folder))
            model = tf.saved_model.load(path)
    except Exception as error:  # of many types, depending on what is missing or truncated
        raise UserError(f"{folder} holds no complete SavedModel: run `dvc repro` first ({error}).") from None
    if not hasattr(model, "threshold"):
        raise UserError(f"{folder} holds a SavedModel of another program, or of an earlier version: run `dvc repro`.")
    return model


def restore(weights: Sequence[Any], folder: str | Path) -> float:
    """Gives `weights` the values of a SavedModel that `save` wrote for a network of the same size and classes.

    Only arrays are read: loading all of it takes ten times as long.

    Args:
        weights: the variables of a network in Keras's order, or `weights` of a SavedModel that was loaded.
        folder: the SavedModel.

    Returns:
        The temperature of the SavedModel.

    Raises:
        UserError: there is none, or it is incomplete.
    """
    try:
        reader = tf.train.load_checkpoint(f"{folder}/variables/variables")
        for number, variable in enumerate(weights):
            variable.assign(reader.get_tensor(f"weights/{number}/{VALUE}"))
        return float(reader.get_tensor(f"temperature/{VALUE}"))
    except Exception as error:  # of many types, depending on what is missing or truncated
        raise UserError(f"{folder} holds no complete SavedModel of this pipeline: run `dvc repro` ({error}).") from None


def _serving_module(
    network: keras.Model, classes: Sequence[str], temperature: float
) -> tuple[tf.Module, dict[str, Any]]:
    """Returns the object that `save` writes, and its signatures."""
    size = network.input_shape[1]
    base_end = [layer.name for layer in network.layers].index("base") + 1

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)])
    def feature_maps(images: tf.Tensor) -> tf.Tensor:
        for layer in network.layers[1:base_end]:
            images = layer(images)
        return images

    feature_maps = feature_maps.get_concrete_function()  # traced once, for all that is called from outside

    @tf.function(autograph=False)
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = feature_maps(tf.cast(images, tf.float32))
        for layer in network.layers[base_end:]:
            logits = layer(logits)
        if len(classes) == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
            logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
        return {"probabilities": tf.nn.softmax(logits)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def classify_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.TensorSpec([size, size, 3], tf.uint8)
        return classify(
            tf.map_fn(lambda data: serving_decoder.decode(data, size), image_bytes, fn_output_signature=pixels)
        )

    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    module.class_names = tf.Variable(classes, trainable=False)
    module.image_size = tf.Variable(size, trainable=False)
    module.temperature = tf.Variable(temperature, trainable=False, dtype=tf.float32)
    module.threshold = tf.Variable(0.5, trainable=False, dtype=tf.float64)  # a float32 would round the threshold
    module.__call__ = classify
    module.feature_maps = tf.function(
        lambda images: feature_maps(tf.cast(images, tf.float32)),
        autograph=False,
        input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")],
    )
    signatures = {
        name: classify.get_concrete_function(tf.TensorSpec([None, size, size, 3], dtype, name="images"))
        for name, dtype in {"serving_default": tf.float32, "serving_uint8": tf.uint8}.items()
    }
    return module, signatures | {"serving_bytes": classify_bytes.get_concrete_function()}


def _save_reproducibly(build: Callable[[], tuple[tf.Module, dict[str, Any]]], folder: Path) -> None:
    """Writes the module and signatures that `build` makes as a SavedModel, with the same bytes in every process.

    - Names of traced functions end in TensorFlow's running number, which depends on what the process did before: it is
      moved on to one that training does not reach, and only then is anything traced.
    - `build` keeps the variables in a list of a plain tf.Module, in Keras's order: Keras's own export names and orders
      them differently at every save.
    - fingerprint.pb is optional and holds a random number: it is removed.
    """
    while ops.uid() < 1_000_000:
        pass
    module, signatures = build()
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:  # a full disk, which TensorFlow does not report as an OSError
        raise UserError(f"{folder} cannot be written: {error.message}. Fix that and run again.") from None
    (folder / "fingerprint.pb").unlink()
