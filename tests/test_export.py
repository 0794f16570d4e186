import io
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from flatbuffers.number_types import Uint8Flags, Uint32Flags
from PIL import Image

from stages import export, split
from stages.common import dataset, files
from stages.common.cli import UserError
from stages.formats import conversion, litert, onnx_model, quantization
from stages.model import mobilenet_v2, network, saved_model
from tests.formats.flatbuffer import item, items, number, numbers, root, sub, text
from tests.support import ROOT, SMALL_BLOCKS, Project, amplify, make_images, principal_components

CLASSES = ["ant", "bée", "two\nlines"]
FILES = ["float16.tflite", "int8.tflite", "labels.txt", "model.onnx"]

# Runs the stage with the small network.
RUN = """
import runpy, sys
from stages.model import backend
backend.configure()
from stages.model import mobilenet_v2
mobilenet_v2.BLOCKS = eval(sys.argv[1])
runpy.run_module("stages.export", run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A working folder in which the stage has run by itself. `ran` has what it wrote, stdout and stderr."""
    workplace = Project(tmp_path_factory.mktemp("exported"))
    (workplace.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    make_images(workplace.folder / "mine", dict.fromkeys(CLASSES, 10))
    for path in (workplace.folder / "mine").rglob("*.png"):
        Image.open(path).point(lambda value: 60 + value // 2).save(path)  # neither black nor white in any image
    workplace.set({"data.images": "mine", "image_size": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace.folder)
        patch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)  # tests/test_pipeline.py exports the default network
        split.main()
        keras.utils.set_random_seed(0)
        model = network.build(32, 3)
        amplify(model)
        model.get_layer("logits").set_weights(nearest_class_mean(model, dataset.load("train")))
        (workplace.folder / "data/models").mkdir()
        saved_model.save(model, CLASSES, 1.5, workplace.folder / "data/models/finetuned")
        features = network.feature_extractor(model)(dataset.load("train").pixels[:].astype(np.float32)).numpy()
        values = principal_components(features, 3)
        saved_model.copy("data/models/finetuned", workplace.folder / export.SAVED_MODEL, values)
    workplace.ran = subprocess.run(
        [sys.executable, "-c", RUN, str(SMALL_BLOCKS)],
        cwd=workplace.folder,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
    )
    assert workplace.ran.returncode == 0, workplace.ran.stderr
    return workplace


def nearest_class_mean(model, split):
    """Weights of a head with which no image is near the border of two classes, as some are with random ones."""
    feature_extractor = network.feature_extractor(model)
    features = feature_extractor(split.pixels[:]).numpy()
    means = np.stack([features[split.labels == label].mean(axis=0) for label in range(len(split.classes))])
    kernel = (means - means.mean(axis=0)).T
    kernel *= 1 / (kernel**2).sum(axis=0)
    return [kernel, -means.mean(axis=0) @ kernel]


@pytest.fixture
def model(exported, monkeypatch):
    """The SavedModel; the working folder is `exported`."""
    monkeypatch.chdir(exported.folder)
    monkeypatch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)
    return saved_model.load(export.SAVED_MODEL)


@pytest.fixture
def folder(exported):
    return exported.folder / "data/models/exported"


@pytest.fixture
def metrics(exported):
    return files.read_json(exported.folder / "data/models/exported/comparison.json")


def test_all_four_are_measured_and_the_savedmodel_agrees_with_itself(exported, metrics):
    milliseconds = files.read_json(exported.folder / "metrics/export_speed.json")
    assert list(metrics) == list(milliseconds) == ["savedmodel", "float16", "int8", "onnx"]
    assert metrics["savedmodel"]["agreement"] == 1 and metrics["savedmodel"]["max_abs_difference"] == 0
    assert all(row["same_flags"] >= 0.8 for row in metrics.values())
    assert all(value > 0 for value in milliseconds.values())
    lowest = min(row["agreement"] for row in metrics.values())
    assert files.read_json(exported.folder / "metrics/export.json") == {"agreement": lowest}


@pytest.mark.parametrize("name", ["float16", "onnx"])
def test_float_formats_predict_what_the_savedmodel_predicts(metrics, name):
    assert metrics[name]["agreement"] == 1 and metrics[name]["accuracy"] == metrics["savedmodel"]["accuracy"]
    assert 0 < metrics[name]["max_abs_difference"] < 0.02


def test_int8_is_near_the_savedmodel(metrics):
    assert 0 < metrics["int8"]["max_abs_difference"] < 0.2


def test_the_stage_prints_a_table_and_the_converters_nothing(exported):
    last_lines = exported.ran.stdout.splitlines()[-4:]
    assert [line.split()[0] for line in last_lines] == ["savedmodel", "float16", "int8", "onnx"]
    chatter = [line for line in exported.ran.stderr.splitlines() if line.strip() and "checking" not in line]
    assert chatter == []


def test_another_process_and_folder_give_the_same_bytes(model, folder, tmp_path):
    conversion.convert(export.SAVED_MODEL, dataset.load("train"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_a_lite_file_holds_the_labels_where_phones_look_for_them(folder, name):
    content = (folder / f"{name}.tflite").read_bytes()
    labels = zipfile.ZipFile(io.BytesIO(content)).read("labels.txt").decode()
    assert labels == (folder / "labels.txt").read_text() == "ant\nbée\ntwo lines\n"


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_a_lite_file_describes_its_input_and_output(folder, name):
    graph = item(root(metadata(folder / f"{name}.tflite")), 3)
    image, [probability, novelty] = item(graph, 2), items(graph, 3)
    content, normalization = sub(image, 3), sub(item(image, 4), 1)
    assert number(content, 0, Uint8Flags) == 2  # an image
    assert number(sub(content, 1), 0, Uint8Flags) == 1  # RGB
    assert [number(sub(sub(content, 1), 1), side, Uint32Flags) for side in (0, 1)] == [32, 32]
    assert [numbers(normalization, field) for field in (0, 1)] == [[0], [1]]  # mean, std: pixels as they are
    assert [numbers(sub(image, 5), field) for field in (0, 1)] == [[255], [0]]
    assert text(item(probability, 6), 0) == "labels.txt" and number(item(probability, 6), 2, Uint8Flags) == 2
    assert "1 / 1.5" in text(probability, 1)
    assert text(novelty, 0) == "novelty" and text(novelty, 1).startswith(
        "above 1, the image is unlike the training images"
    )
    assert [numbers(sub(novelty, 5), field) for field in (0, 1)] == [[2], [0]]


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_the_first_output_of_a_lite_file_is_the_probabilities_the_second_the_novelty(folder, model, name):
    interpreter, image = Interpreter(str(folder / f"{name}.tflite")), dataset.load("test").pixels[:1]
    outputs = interpreter.get_output_details()
    assert [(x["name"], x["shape"].tolist()) for x in outputs] == [("probabilities", [1, 3]), ("novelty", [1])]
    runner = interpreter.get_signature_runner("serving_default")
    [details] = runner.get_input_details().values()
    answer = runner(images=image.astype(details["dtype"]))
    probabilities, novelty = litert.load(folder / f"{name}.tflite")(image)
    for output, values in zip(outputs, (probabilities, novelty), strict=True):
        scale = output["quantization"][0] or 1
        np.testing.assert_array_equal(answer[output["name"]] * np.float32(scale), values)
    np.testing.assert_allclose(probabilities, model(image)["probabilities"], atol=0.1)
    np.testing.assert_allclose(novelty, np.minimum(model(image)["novelty"], 2), atol=0.2)


def metadata(path):
    """The FlatBuffer in the model's buffer of this name."""
    file = Model.GetRootAs(path.read_bytes())
    buffers = {entry.Name(): entry.Buffer() for entry in map(file.Metadata, range(file.MetadataLength()))}
    content = file.Buffers(buffers[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert content[4:8] == b"M001"
    return content


def test_int8_takes_pixels_as_they_are_and_gives_256ths(folder):
    interpreter = Interpreter(str(folder / "int8.tflite"))
    [image], [probabilities, novelty] = interpreter.get_input_details(), interpreter.get_output_details()
    assert image["dtype"] == probabilities["dtype"] == novelty["dtype"] == np.uint8
    assert image["quantization"] == (1, 0) and probabilities["quantization"] == (1 / 256, 0)
    scale, zero_point = novelty["quantization"]
    assert zero_point == 0 and 127.4 * scale < 1 < 127.6 * scale  # no novelty is rounded across the threshold


def test_the_onnx_file_takes_any_number_of_images(folder, model):
    images = dataset.load("test").pixels[:3]
    probabilities, novelty = onnx_model.load(folder / "model.onnx")(images)
    expected = model.signatures["serving_uint8"](images=images)
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)
    np.testing.assert_allclose(novelty, expected["novelty"], atol=1e-3)
    assert novelty.shape == (3,)


def test_the_onnx_file_describes_its_input(folder):
    properties = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    assert json.loads(properties["class_names"]) == CLASSES
    assert (properties["image_size"], properties["input_layout"], properties["temperature"]) == ("32", "NHWC", "1.5")
    assert properties["novelty"].startswith("above 1, the image is unlike the training images")


def test_images_for_calibration_are_of_all_classes_alike(monkeypatch):
    monkeypatch.setattr(quantization, "CALIBRATION_IMAGES", 30)
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    rows = quantization.calibration_rows(labels)
    assert np.bincount(labels[rows]).tolist() == [10, 10, 1] and len(set(rows)) == 21
    assert rows[0] == 0 and rows[9] == 99


def test_images_for_calibration_of_many_classes_are_of_evenly_spaced_classes(monkeypatch):
    monkeypatch.setattr(quantization, "CALIBRATION_IMAGES", 30)
    labels = np.repeat(np.arange(100), 3)
    chosen = labels[quantization.calibration_rows(labels)]
    assert len(set(chosen)) == 30 and chosen[0] == 0 and chosen[-1] == 99


def test_agreement_is_about_the_top_1_class_and_same_flags_about_novelties_above_1():
    reference = export.Outputs(np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0, 1]]), np.array([0.5, 1.1, 3, 1]))
    outputs = export.Outputs(np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0, 1]]), np.array([0.9, 0.9, 1.01, 1.01]))
    assert export.compare(np.array([0, 1, 1, 1]), outputs, reference) == {
        "accuracy": 1,
        "agreement": 0.75,
        "same_flags": 0.5,
        "max_abs_difference": pytest.approx(0.2),
    }


@pytest.mark.parametrize(("module", "name", "file"), [(litert, "convert", "LiteRT"), (onnx_model, "convert", "ONNX")])
def test_a_converter_that_fails_is_one_line(model, tmp_path, monkeypatch, capfd, module, name, file):
    def fail(*_):
        os.write(2, b"chatter\n")
        raise RuntimeError("tf.Foo is not\n  supported")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(UserError, match=f"cannot be converted to {file}: tf.Foo is not supported. Fix"):
        conversion.convert(export.SAVED_MODEL, dataset.load("train"), tmp_path)
    assert capfd.readouterr().err == ""
