"""The code that users copy, as it stands in the model card and in docs/serving.md, gives what predict gives."""

import base64
import functools
import json
import re
import struct
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms

from stages.decoding.decode import decode
from stages.formats import litert, onnx_model, quantization
from stages.model import mobilenet_v2, network, saved_model
from stages.reporting import model_card
from stages.tools.predict import predict
from tests.decoding import odd_files
from tests.decoding.image_files import encode, ink_profile
from tests.support import ROOT, SMALL_BLOCKS, amplify, principal_components

SIZE = 32
CLASSES = ["cat", "nöt cat"]
MODEL = "data/models/classifier"
load_once = functools.cache(tf.saved_model.load)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a small model where the pipeline has it, as SavedModel, int8 and ONNX.

    Its threshold is reached by a quarter of the images of `files`.
    """
    folder = tmp_path_factory.mktemp("usage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet_v2, "BLOCKS", SMALL_BLOCKS)
        patch.chdir(folder)
        keras.utils.set_random_seed(0)
        made = network.build(SIZE, 2)
        amplify(made)
        saved_model.save(made, CLASSES, 2, folder / "saved")
        for number, data in enumerate(files().values()):
            Path(f"{number}.image").write_bytes(data)
        paths = sorted(Path().glob("*.image"))
        probabilities = [x.probabilities["nöt cat"] for x in predict(paths, "saved")]
        pixels = np.stack([decode(path, SIZE)[2] for path in paths])
        values = principal_components(network.feature_extractor(made)(pixels.astype(np.float32)).numpy(), 4)
        saved_model.copy("saved", Path(MODEL), {"threshold": np.quantile(probabilities, 0.75)} | values)
        export(made, pixels, Path("data/models/exported"))
    return folder


def export(made, pixels, folder):
    """Writes what docs/serving.md reads of what the stage export writes."""
    folder.mkdir()
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    (folder / "model.onnx").write_bytes(onnx_model.convert(made, CLASSES, 2, saved_model.read_pca(MODEL)))
    (folder / "int8.tflite").write_bytes(quantization.quantize(litert.convert(MODEL), pixels))


@functools.cache
def files():
    """{name: bytes} of images with much detail: what is scaled or rounded otherwise gets other pixels."""
    blobs = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    rgb = Image.fromarray(blobs).resize((410, 301), Image.Resampling.BICUBIC)
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel(0))
    grey, palette = rgb.convert("L"), rgb.quantize(13)
    deep = np.asarray(grey).astype(np.uint16) * 256 + 77
    exif = [Image.Exif() for _ in range(9)]
    for orientation in range(1, 9):
        exif[orientation][0x0112] = orientation
    turned = {f"orientation {number}": encode(rgb, "JPEG", exif=exif[number]) for number in range(1, 9)}
    profiled = {
        f"{name}, {image.mode}, {kind}": encode(image, kind, icc_profile=profile)
        for name, profile in {"P3": p3_profile(), "grey": grey_profile(), "broken": b"no profile"}.items()
        for image, kind in (
            (rgb, "JPEG"),
            (grey, "JPEG"),
            (rgba, "PNG"),
            (palette, "PNG"),
            (grey, "PNG"),
            (rgb, "WEBP"),
        )
    }
    return {
        **turned,
        **profiled,
        "large": encode(rgb.resize((1640, 1204)), "JPEG", exif=exif[6], icc_profile=p3_profile()),
        "grey": encode(grey, "JPEG"),
        "grey 16": encode(Image.fromarray(deep), "PNG", icc_profile=grey_profile()),
        "grey 16 TIFF": encode(Image.fromarray(deep), "TIFF", exif=exif[8]),
        "floating-point to 1": encode(Image.fromarray(deep.astype(np.float32) / 65535), "TIFF"),
        "floating-point to 255": encode(Image.fromarray(deep.astype(np.float32) / 257), "TIFF"),
        "black and white": encode(rgb.convert("1"), "PNG"),
        "palette": encode(palette, "PNG"),
        "palette, transparent": encode(palette, "PNG", transparency=bytes(range(0, 250, 50))),
        "grey, one transparent": encode(grey, "PNG", transparency=100),
        "RGBA": encode(rgba, "PNG", exif=exif[5]),
        "LA": encode(rgba.convert("LA"), "PNG"),
        "CMYK": encode(rgb.convert("CMYK"), "JPEG"),
        "CMYK, profiled": encode(rgb.convert("CMYK"), "JPEG", icc_profile=ink_profile()),
        "WebP": encode(rgba, "WEBP"),
        "GIF animation": encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)], transparency=3),
        "TIFF": encode(rgba, "TIFF"),
    }


def p3_profile():
    """An ICC profile with the primaries of Display P3 and a gamma of 1.8."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())

    def data(tag):  # ICC.1:2022, 7.3: signature, offset and size of each tag
        return struct.unpack_from(">I", profile, profile.index(tag) + 4)[0]

    for tag, xyz in {
        b"rXYZ": (0.515, 0.241, -0.001),
        b"gXYZ": (0.292, 0.692, 0.042),
        b"bXYZ": (0.157, 0.067, 0.784),
    }.items():
        struct.pack_into(">3i", profile, data(tag) + 8, *(round(65536 * x) for x in xyz))
    struct.pack_into(">i", profile, data(b"rTRC") + 12, round(65536 * 1.8))
    return bytes(profile)


def grey_profile():
    """An ICC profile (version 2) of grey levels with a gamma of 1."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)
    tags = struct.pack(">I4sII", 1, b"kTRC", 144, len(curve))
    kind = (0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head = struct.pack(">I4sI4s4s4s12s4s4s", 144 + len(curve), bytes(4), *kind, bytes(12), b"acsp", bytes(4))
    return head + bytes(68 - len(head)) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + tags + curve


def load(path):
    return load_once(Path(path).absolute())


@pytest.fixture(autouse=True)
def loads_once(monkeypatch):
    monkeypatch.setattr(tf.saved_model, "load", load)


def run_usage(data):
    """Runs the snippet for an image file, and returns its names and predict's answer."""
    Path("my.jpg").write_bytes(data)
    names = {}
    exec(model_card.USAGE, names)
    [prediction] = predict(["my.jpg"], MODEL)
    return names, prediction


@pytest.mark.filterwarnings("ignore")  # what Pillow says of odd metadata
def test_the_snippet_is_equal_to_predict(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    odd = {name: good.content for name, good in odd_files.good_files().items()}
    predictions = []
    for name, data in {**odd, **files()}.items():
        names, prediction = run_usage(data)
        np.testing.assert_array_equal(np.asarray(names["image"].convert("RGB")), decode("my.jpg", SIZE)[2], name)
        np.testing.assert_allclose(
            names["probabilities"], list(prediction.probabilities.values()), atol=1e-3, err_msg=name
        )
        novelty = load(MODEL)(decode("my.jpg", SIZE)[2][np.newaxis])["novelty"].numpy()[0]
        assert names["novelty"] == pytest.approx(novelty, abs=1e-3), name
        assert capsys.readouterr().out.startswith(f"{prediction.predicted} {{'cat': "), name
        predictions.append(prediction)
    assert {x.predicted for x in predictions} == set(CLASSES)
    assert any(x.probability < 0.5 for x in predictions)  # the model's threshold counts


def test_the_snippet_predicts_the_most_probable_of_three_classes(shallow, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved_model.save(network.build(SIZE, 3), ["a", "b", "c"], 1, Path(MODEL))
    names, prediction = run_usage(files()["grey"])
    assert names["classes"][names["label"]] == prediction.predicted == capsys.readouterr().out[0]


def blocks(language, words):
    """The blocks of code in docs/serving.md in which `words` occur."""
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    return [code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if words in code]


def test_the_documents_have_the_same_snippet():
    assert blocks("python", "ImageCms") == [f"{model_card.USAGE}\n"]
    assert all(
        model_card.USAGE in path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        if "Image.Resampling" in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(
    ("words", "tolerance"), [("ai_edge_litert", 0.05), ("onnxruntime", 1e-3), ("serving_bytes", 1e-2)]
)
@pytest.mark.parametrize("name", ["orientation 6", "orientation 8"])
def test_the_code_for_each_format_gives_what_predict_gives(folder, monkeypatch, capsys, words, tolerance, name):
    monkeypatch.chdir(folder)
    Path("my.jpg").write_bytes(files()[name])
    [code], names = blocks("python", words), {}
    exec(code, names)
    [prediction] = predict(["my.jpg"], MODEL)
    expected = list(prediction.probabilities.values())
    np.testing.assert_allclose(np.ravel(names["probabilities"]), expected, atol=tolerance)
    novelty = load(MODEL)(decode("my.jpg", SIZE)[2][np.newaxis])["novelty"].numpy()[0]
    assert novelty > 0.1 and np.ravel(names["novelty"]) == pytest.approx(min(novelty, 2), abs=10 * tolerance)
    assert "classes" not in names or names["classes"] == CLASSES
    assert words == "serving_bytes" or capsys.readouterr().out.startswith("{'cat': ")


def test_scaling_by_hand_is_what_predict_does(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("my.jpg").write_bytes(files()["grey"])
    [plain], [calibrated] = predict(["my.jpg"], MODEL), predict(["my.jpg"], MODEL, calibrated=True)
    names = {"probabilities": np.array(list(plain.probabilities.values())), "temperature": 2}
    [code] = blocks("python", "temperature")
    exec(code, names)
    np.testing.assert_allclose(names["scaled"], list(calibrated.probabilities.values()), atol=1e-6)


def test_the_request_for_tensorflow_serving_is_what_the_signature_takes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("my.jpg").write_bytes(files()["orientation 6"])
    [code] = blocks("console", "curl -d")
    command = re.sub(r"\| curl.*", "", code)
    request = json.loads(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout)
    assert request["signature_name"] in load(MODEL).signatures
    [instance] = request["instances"]
    [[name, value]] = instance.items()
    assert base64.b64decode(value["b64"]) == Path("my.jpg").read_bytes()
    assert name in load(MODEL).signatures[request["signature_name"]].structured_input_signature[1]
