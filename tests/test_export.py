import io
import json
import os
import subprocess
import sys
import zipfile

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from flatbuffers.number_types import Float32Flags, Uint8Flags, Uint32Flags, UOffsetTFlags
from flatbuffers.table import Table
from PIL import Image

from stages import export, split
from stages.common import dataset
from stages.common.cli import UserError
from stages.formats import litert, onnx_model
from stages.model import network, saved_model
from tests.support import ROOT, Project, make_images

CLASSES = ["ant", "bée", "two\nlines"]
FILES = ["float16.tflite", "int8.tflite", "labels.txt", "model.onnx"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, weights):
    """A working folder in which the stage has run by itself, and what it said: .out and .err."""
    workplace = Project(tmp_path_factory.mktemp("exported"))
    (workplace.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    make_images(workplace.folder / "mine", dict.fromkeys(CLASSES, 10))
    for path in (workplace.folder / "mine").rglob("*.png"):
        Image.open(path).point(lambda value: 60 + value // 2).save(path)  # neither black nor white in any image
    workplace.set({"data.images": "mine", "image_size": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace.folder)
        split.main()
        model = network.build(32, 3)
        network.load_base(model, weights)
        model.get_layer("logits").set_weights(towards_the_class_means(model, dataset.load("train")))
        (workplace.folder / "data/models").mkdir()
        saved_model.save(model, CLASSES, 1.5, workplace.folder / "data/models/finetuned")
    workplace.ran = subprocess.run(
        [sys.executable, "-m", "stages.export"],
        cwd=workplace.folder,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
    )
    assert workplace.ran.returncode == 0, workplace.ran.stderr
    return workplace


def towards_the_class_means(model, split):
    """Weights of the last layer with which no image is near the border of two classes, as some are with random ones."""
    look, _ = network.split_head(model)
    features = look(split.pixels[:]).numpy()
    means = np.stack([features[split.labels == label].mean(axis=0) for label in range(len(split.classes))])
    kernel = (means - means.mean(axis=0)).T
    kernel *= 1 / (kernel**2).sum(axis=0)
    return [kernel, -means.mean(axis=0) @ kernel]


@pytest.fixture
def model(exported, monkeypatch):
    """The SavedModel; the working folder is `exported`."""
    monkeypatch.chdir(exported.folder)
    return saved_model.load("data/models/finetuned")


def test_all_formats_are_near_the_savedmodel_and_small(exported):
    figures = json.loads((exported.folder / "metrics/export.json").read_text())
    milliseconds = json.loads((exported.folder / "metrics/export_speed.json").read_text())
    assert list(figures) == list(milliseconds) == ["savedmodel", "float16", "int8", "onnx"]
    assert figures["savedmodel"]["agreement"] == 1 and figures["savedmodel"]["max_abs_difference"] == 0
    for name in ("float16", "onnx"):
        assert figures[name]["agreement"] == 1 and 0 < figures[name]["max_abs_difference"] < 0.02
        assert figures[name]["accuracy"] == figures["savedmodel"]["accuracy"]
    assert 0 < figures["int8"]["max_abs_difference"] < 0.2
    for name, file, largest in (
        ("float16", "float16.tflite", 4.8),
        ("int8", "int8.tflite", 3),
        ("onnx", "model.onnx", 9.5),
    ):
        assert (
            figures[name]["megabytes"]
            == (exported.folder / "data/models/exported" / file).stat().st_size / 1e6
            < largest
        )
    assert all(value > 0 for value in milliseconds.values())


def test_the_stage_says_what_came_out_and_the_converters_nothing(exported):
    assert [line.split()[0] for line in exported.ran.stdout.splitlines()[-4:]] == [
        "savedmodel",
        "float16",
        "int8",
        "onnx",
    ]
    chatter = [line for line in exported.ran.stderr.splitlines() if line.strip() and "checking" not in line]
    assert chatter == []


def test_another_process_and_folder_give_the_same_bytes(exported, model, tmp_path):
    export.convert(dataset.load("train"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (exported.folder / "data/models/exported" / name).read_bytes(), name


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_a_lite_file_holds_labels_and_preprocessing_where_phones_look_for_them(exported, name):
    content = (exported.folder / f"data/models/exported/{name}.tflite").read_bytes()
    labels = zipfile.ZipFile(io.BytesIO(content)).read("labels.txt").decode()
    assert labels == (exported.folder / "data/models/exported/labels.txt").read_text() == "ant\nbée\ntwo lines\n"
    file = Model.GetRootAs(content)
    buffers = {entry.Name(): entry.Buffer() for entry in map(file.Metadata, range(file.MetadataLength()))}
    metadata = file.Buffers(buffers[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert metadata[4:8] == b"M001"
    graph = item(root(metadata), 3)
    image, probability = item(graph, 2), item(graph, 3)
    properties, normalization = sub(sub(image, 3), 1), sub(item(image, 4), 1)
    assert number(sub(image, 3), 0, Uint8Flags) == 2 and number(properties, 0, Uint8Flags) == 1  # an image, RGB
    assert [number(sub(properties, 1), side, Uint32Flags) for side in (0, 1)] == [32, 32]
    assert [numbers(normalization, k) for k in (0, 1)] == [[0], [1]]  # mean, std: pixels as they are
    assert [numbers(sub(image, 5), k) for k in (0, 1)] == [[255], [0]]
    assert text(item(probability, 6), 0) == "labels.txt" and number(item(probability, 6), 2, Uint8Flags) == 2
    assert "1 / 1.5" in text(probability, 1)


# Reading a FlatBuffer without its schema: field k of a table stands at place 4 + 2 * k of its vtable.
def root(data):
    return Table(bytearray(data), flatbuffers.encode.Get(UOffsetTFlags.packer_type, data, 0))


def sub(table, field):
    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(4 + 2 * field)))


def item(table, field):
    """The only table in a vector of tables."""
    assert table.VectorLen(table.Offset(4 + 2 * field)) == 1
    return Table(table.Bytes, table.Indirect(table.Vector(table.Offset(4 + 2 * field))))


def text(table, field):
    return table.String(table.Pos + table.Offset(4 + 2 * field)).decode()


def number(table, field, kind):
    return table.Get(kind, table.Pos + table.Offset(4 + 2 * field))


def numbers(table, field):
    return table.GetVectorAsNumpy(Float32Flags, table.Offset(4 + 2 * field)).tolist()


def test_int8_takes_pixels_as_they_are_and_gives_256ths(exported):
    interpreter = Interpreter(str(exported.folder / "data/models/exported/int8.tflite"))
    [given], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == answer["dtype"] == np.uint8
    assert given["quantization"] == (1, 0) and answer["quantization"] == (1 / 256, 0)
    assert {tensor["dtype"] for tensor in interpreter.get_tensor_details()} == {np.uint8, np.int8, np.int32}


def test_the_onnx_file_takes_any_number_of_images_and_says_what_they_must_be(exported, model):
    path = exported.folder / "data/models/exported/model.onnx"
    images = dataset.load("test").pixels[:3]
    expected = model.signatures["serving_uint8"](images=images)["probabilities"].numpy()
    np.testing.assert_allclose(onnx_model.load(path)(images), expected, atol=1e-5)
    props = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert json.loads(props["class_names"]) == CLASSES
    assert (props["image_size"], props["input_layout"], props["temperature"]) == ("32", "NHWC", "1.5")


def test_an_onnx_graph_is_named_and_sorted_by_the_order_of_use():
    def graph(p, q, y, order):
        constants = [onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [k]) for k, name in enumerate([p, q])]
        nodes = [
            onnx.helper.make_node("Add", ["images", p], [y], f"{y}__3"),
            onnx.helper.make_node("Mul", [y, q], ["probabilities"]),
        ]
        made = onnx.helper.make_graph(nodes, "g", [], [], [constants[k] for k in order])
        onnx_model.name_in_order(made)
        return made

    first, second = graph("p", "q", "y", [0, 1]), graph("q", "p", "z", [1, 0])
    assert first == second
    assert [list(x.float_data) for x in first.initializer] == [[0], [1]]
    assert first.node[0].input[0] == "images" and first.node[1].output[0] == "probabilities"


def test_images_for_calibration_are_of_all_classes_alike():
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    rows = export.sample(labels, 30)
    assert np.bincount(labels[rows]).tolist() == [10, 10, 1] and len(set(rows)) == 21
    assert rows[0] == 0 and rows[9] == 99


def test_agreement_is_about_the_likeliest_class():
    reference = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    figures = export.compare(np.array([0, 1, 1]), np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), reference)
    assert figures == {"accuracy": 1, "agreement": pytest.approx(2 / 3), "max_abs_difference": pytest.approx(0.2)}


@pytest.mark.parametrize(("module", "name", "file"), [(litert, "float16", "LiteRT"), (onnx_model, "convert", "ONNX")])
def test_a_converter_that_fails_is_one_line(model, tmp_path, monkeypatch, capfd, module, name, file):
    def fail(*_):
        os.write(2, b"chatter\n")
        raise RuntimeError("tf.Foo is not\n  supported")

    for function in ("fix_batch", "float16", "int8"):
        monkeypatch.setattr(litert, function, lambda *_: b"")
    monkeypatch.setattr(export.litert_metadata, "add", lambda *_: b"")
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(UserError, match=f"cannot be converted to {file}: tf.Foo is not supported. Mend"):
        export.convert(dataset.load("train"), tmp_path)
    assert capfd.readouterr().err == ""
