import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import ops

from stages.common.cli import UserError
from stages.model import network, saved_model
from tests.support import ROOT

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)

SERVE = """
import io, sys, json
import numpy as np
import tensorflow as tf
from PIL import Image

def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()

def serve(folder):
    model = tf.saved_model.load(folder)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    answers = [
        model.signatures["serving_default"](images=tf.constant(images, tf.float32)),
        model.signatures["serving_default"](images=images),
        model.signatures["serving_uint8"](images=images),
        model(tf.constant(images)),
        model(tf.constant(images, tf.float32)),
        model.signatures["serving_bytes"](image_bytes=tf.constant([png(image) for image in images])),
    ]
    return {
        "classes": [x.decode() for x in model.class_names.numpy()],
        "image_size": int(model.image_size.numpy()),
        "temperature": float(model.temperature.numpy()),
        "threshold": float(model.threshold),
        "probabilities": [x["probabilities"].numpy().tolist() for x in answers],
    }

served = [serve(folder) for folder in sys.argv[1:]]
assert "stages" not in sys.modules
print(json.dumps(served))
"""
CLASSES = [["face", "not face"], ["a", "b", "ü"]]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """For each of CLASSES, a model's logits of IMAGES, and the answers of a process that imports TensorFlow alone."""
    folder, logits = tmp_path_factory.mktemp("served"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.model.mobilenet_v2.BLOCKS", [(1, 16, 1, 1)])
        for number, classes in enumerate(CLASSES):
            model = network.build(32, len(classes))
            saved_model.save(model, classes, 1.5, folder / str(number))
            logits.append(model(IMAGES.astype("float32"), training=False).numpy().astype(float))
    result = subprocess.run(
        [sys.executable, "-c", SERVE, folder / "0", folder / "1"],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return list(zip(logits, json.loads(result.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("number", [0, 1])
def test_serves_raw_pixels_without_keras_or_our_code(served, number):
    logits, answers = served[number]
    assert answers["classes"] == CLASSES[number] and answers["image_size"] == 32 and answers["temperature"] == 1.5
    assert answers["threshold"] == 0.5
    if number == 0:
        second = 1 / (1 + np.exp(-logits[:, 0]))
        expected = np.stack([1 - second, second], axis=1)
    else:
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for probabilities in answers["probabilities"]:
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_what_is_restored_from_it_is_the_same_to_the_bit(shallow, tmp_path):
    for name in ("one", "other"):
        model = network.build(32, 3)
        saved_model.save(model, ["a", "b", "c"], 1.5, tmp_path / name)
    built, loaded = network.build(32, 3), saved_model.load(tmp_path / "one")
    for restored in (built, loaded):
        assert saved_model.restore(restored.weights, tmp_path / "other") == 1.5
        assert all(np.array_equal(a, b) for a, b in zip(model.weights, restored.weights, strict=True))
    expected = saved_model.load(tmp_path / "other").signatures["serving_uint8"](images=IMAGES)
    np.testing.assert_array_equal(
        loaded.signatures["serving_uint8"](images=IMAGES)["probabilities"], expected["probabilities"]
    )


def test_a_folder_without_the_arrays_of_a_model_of_ours_is_named(shallow, tmp_path):
    with pytest.raises(UserError, match="nothing holds no complete SavedModel of this pipeline: run `dvc repro`"):
        saved_model.restore(network.build(32, 3).weights, tmp_path / "nothing")
    saved_model.save(network.build(32, 2), ["a", "b"], 1.0, tmp_path / "two classes")
    with pytest.raises(UserError, match="two classes holds no complete SavedModel of this pipeline"):
        saved_model.restore(network.build(32, 3).weights, tmp_path / "two classes")


def contents(folder):
    """The bytes of all files of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_name_depends_on_what_the_process_did_before(shallow, tmp_path):
    for tensors in (0, 1000, 1_100_000):  # the last as after some 150,000 steps of training
        for _ in range(tensors):
            ops.uid()
        saved_model.save(network.build(32, 2), CLASSES[0], 1.5, tmp_path / str(tensors))
        saved = saved_model_pb2.SavedModel.FromString((tmp_path / str(tensors) / "saved_model.pb").read_bytes())
        functions = saved.meta_graphs[0].graph_def.library.function
        attributes = [attribute.attr for function in functions for attribute in function.arg_attr.values()]
        arguments = [attr["_user_specified_name"].s.decode() for attr in attributes if "_user_specified_name" in attr]
        numbers = [function.signature.name.rpartition("_")[2] for function in functions] + arguments
        numbers = [int(number) for number in numbers if number.isdigit()]
        assert len(numbers) > 50 and min(numbers) >= 10**12
    assert ops.uid() < 10**12


def test_a_copy_differs_in_its_threshold_alone(shallow, tmp_path):
    source, copies = tmp_path / "source", [tmp_path / "deep/one", tmp_path / "other"]
    model = network.build(32, 2)
    saved_model.save(model, CLASSES[0], 1.5, source)
    original = contents(source)
    for copy in copies:
        saved_model.copy(source, copy, {"threshold": 0.27})
    assert contents(copies[0]) == contents(copies[1]) and contents(source) == original
    assert contents(copies[0]).keys() == original.keys()  # fingerprint.pb is not among them
    loaded, before = saved_model.load(copies[0]), saved_model.load(source)
    assert (float(loaded.threshold), float(before.threshold)) == (0.27, 0.5)  # to the last bit
    for serve in ("serving_default", "serving_uint8"):
        answers = [x.signatures[serve](images=IMAGES)["probabilities"] for x in (loaded, before)]
        np.testing.assert_array_equal(*answers)
    assert list(loaded.class_names.numpy()) == list(before.class_names.numpy())
    restored = network.build(32, 2)
    assert saved_model.restore(restored.weights, copies[0]) == 1.5
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, restored.weights, strict=True))


def test_a_copy_of_nothing_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="nothing holds no complete SavedModel of this pipeline: run `dvc repro`"):
        saved_model.copy(tmp_path / "nothing", tmp_path / "copy", {"threshold": 0.27})
    assert not (tmp_path / "copy").exists()


SAVE = """
import pathlib, sys
from stages.model import backend
backend.configure()
import keras
from tensorflow.python.framework import ops
from stages.model import mobilenet_v2, network, saved_model
for _ in range(int(sys.argv[2])):
    ops.uid()
mobilenet_v2.BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2)]
keras.utils.set_random_seed(1)
saved_model.save(network.build(32, 2), ["a", "b"], 1.0, pathlib.Path(sys.argv[1]))
"""


def test_has_the_same_bytes_whatever_the_process_has_done_and_its_hash_seed(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE, tmp_path / seed, tensors], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed, tensors in (("1", "0"), ("2", "1100000"))  # as many as in some 150,000 steps of training
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert contents(tmp_path / "1") == contents(tmp_path / "2") and len(contents(tmp_path / "1")) == 3


def test_a_folder_without_a_complete_model_of_ours_is_named(shallow, tmp_path):
    with pytest.raises(UserError, match="nothing holds no complete SavedModel"):
        saved_model.load(tmp_path / "nothing")
    module = tf.Module()
    module.weights = [tf.Variable([1.0, 2.0])]
    tf.saved_model.save(module, tmp_path / "other")
    with pytest.raises(UserError, match="other holds a SavedModel of another program"):
        saved_model.load(tmp_path / "other")
    for name in ("variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"):
        (tmp_path / "other" / name).write_bytes((tmp_path / "other" / name).read_bytes()[:-9])
        with pytest.raises(UserError, match="other holds no complete SavedModel"):
            saved_model.load(tmp_path / "other")


def ours():
    """A small module with all that `save` writes."""
    module = tf.Module()
    module.weights = [tf.Variable([1.0])]
    module.class_names = tf.Variable(["a", "b"])
    module.image_size = tf.Variable(32)
    module.background = tf.Variable("#ffffff")
    module.temperature = tf.Variable(1.0)
    module.threshold = tf.Variable(0.5, dtype=tf.float64)
    module.set_threshold = tf.Variable(0.0, dtype=tf.float64)
    module.novelty_mean = tf.Variable([0.0])
    module.novelty_components = tf.Variable([[0.0]])
    module.novelty_threshold = tf.Variable(np.inf)
    module.predict = serve("images", tf.uint8)
    return module, {
        "serving_default": serve("images", tf.float32),
        "serving_uint8": serve("images", tf.uint8),
        "serving_bytes": serve("image_bytes", tf.string),
    }


def serve(name, dtype, outputs=("probabilities", "novelty")):
    images = tf.TensorSpec([None], dtype, name=name)
    return tf.function(lambda x: {output: tf.ones([1, 2]) for output in outputs}, input_signature=[images])


def without(name):
    return lambda module, signatures: delattr(module, name)


def with_other(name, value):
    return lambda module, signatures: setattr(module, name, value)


def test_what_is_checked_of_a_saved_model_is_all_that_it_needs(tmp_path):
    module, signatures = ours()
    tf.saved_model.save(module, tmp_path / "ours", signatures)
    saved_model.load(tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without("class_names"), "class_names"),
        (without("background"), "background"),  # as of an earlier version
        (without("image_size"), "image_size"),
        (without("temperature"), "temperature"),
        (without("threshold"), "threshold"),
        (without("set_threshold"), "set_threshold"),
        (without("novelty_mean"), "novelty_mean"),
        (without("novelty_components"), "novelty_components"),
        (without("novelty_threshold"), "novelty_threshold"),
        (without("weights"), "weights"),
        (without("predict"), "predict"),
        (with_other("class_names", tf.Variable([1.0, 2.0])), "class_names"),
        (with_other("class_names", tf.Variable("a")), "class_names"),
        (with_other("image_size", tf.Variable(32.0)), "image_size"),
        (with_other("threshold", tf.Variable([0.5, 0.5], dtype=tf.float64)), "threshold"),
        (with_other("temperature", tf.Variable("1.0")), "temperature"),
        (with_other("background", serve("images", tf.uint8)), "background"),
        (lambda module, signatures: signatures.pop("serving_uint8"), "signature serving_uint8"),
        (lambda module, signatures: signatures.pop("serving_bytes"), "signature serving_bytes"),
        (lambda module, signatures: signatures.update(serving_uint8=serve("x", tf.uint8)), "signature serving_uint8"),
        (
            lambda module, signatures: signatures.update(serving_uint8=serve("images", tf.uint8, ["scores"])),
            "signature serving_uint8",
        ),
        (  # as of an earlier version
            lambda module, signatures: signatures.update(serving_uint8=serve("images", tf.uint8, ["probabilities"])),
            "signature serving_uint8",
        ),
    ],
)
def test_a_saved_model_of_another_program_is_named_as_foreign(tmp_path, change, named):
    module, signatures = ours()
    change(module, signatures)
    tf.saved_model.save(module, tmp_path / "model", signatures)
    line = "model holds a SavedModel of another program, or of an earlier version: run `dvc repro`"
    with pytest.raises(UserError, match=rf"{line} \(its {named} is missing or of another type\)"):
        saved_model.load(tmp_path / "model")


def test_saved_models_of_keras_and_of_a_module_with_a_threshold_are_foreign(tmp_path):
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    network.export(tmp_path / "exported", verbose=False)
    network.threshold = tf.Variable(0.5)
    tf.saved_model.save(network, tmp_path / "saved")
    module = tf.Module()
    module.threshold = tf.Variable(0.5)
    tf.saved_model.save(module, tmp_path / "module")
    for name in ("exported", "saved", "module"):
        with pytest.raises(UserError, match=f"{name} holds a SavedModel of another program"):
            saved_model.load(tmp_path / name)
