"""The script of the page to try the model, in Node.js: decoding as predict's, and the answers of the last layers."""

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from stages.decoding.decode import decode
from stages.model import novelty
from tests.support import ROOT

SCRIPT = ROOT / "stages/reporting/try_model.js"
# Calls a function of the script: standard input has its name and arguments; {"bytes": ...} is an array of bytes.
CALL = """
const { readFileSync } = require("node:fs"), vm = require("node:vm");
vm.runInThisContext(`${readFileSync(process.argv[1], "utf8")}; globalThis.tryModel = tryModel;`);
const given = JSON.parse(readFileSync(0, "utf8"), (_, x) => (x?.bytes ? tryModel.bytesOf(x.bytes)
  : x?.floats ? new Float32Array(tryModel.bytesOf(x.floats).buffer) : x));
const functions = { ...tryModel, square: (width, height, pixels, ...rest) => {
  const read = (top, rows) => Uint8ClampedArray.from(pixels.subarray(top * width * 4, (top + rows) * width * 4));
  return tryModel.square(width, height, read, ...rest);
} };
const result = functions[given.name](...given.arguments);
const text = (_, x) => (typeof x === "number" && !Number.isFinite(x) ? String(x) : x);
console.log(JSON.stringify(ArrayBuffer.isView(result) ? Array.from(result) : result, text));
"""


def call(name, *arguments):
    node = shutil.which("node")
    if not node:
        pytest.skip("there is no Node.js on PATH")
    given = json.dumps({"name": name, "arguments": arguments}, default=encoded)
    result = subprocess.run([node, "-e", CALL, str(SCRIPT)], input=given, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def encoded(value):
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"floats": base64.b64encode(np.asarray(value, "<f4").tobytes()).decode()}


def photograph(width, height):
    """Colours that change smoothly, and edges."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 23) + y / height, np.cos((x + y) / 31), np.sin(y / 17) - x / width], axis=2)
    waves[height // 3 : height // 2, width // 4 : width // 2] = 1, -1, 0
    return Image.fromarray(((waves + 2) * 60).astype(np.uint8))


def square(file, size, background):
    """What the script makes of a file, whose pixels are Pillow's, as those of a browser are."""
    with Image.open(io.BytesIO(file)) as image:
        pixels = image.convert("RGBA")
    result = call("square", *pixels.size, pixels.tobytes(), file, size, background)
    return np.array(result).reshape(size, size, 3)


def test_float16_numbers_are_read():
    numbers = np.random.default_rng(0).normal(size=300).astype("<f2")
    numbers = np.concatenate([numbers, np.array([0, -0.0, 6e-8, -6e-5, 65504, 1, -2.5, np.inf], "<f2")])
    read = call("fromHalf", numbers.tobytes())
    np.testing.assert_array_equal(np.array([float(x) for x in read]), numbers.astype(float))


@pytest.mark.parametrize("shape", [(640, 480), (301, 777), (50, 20), (224, 224), (5, 900)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_image_is_resized_as_predict_does(shape, mode):
    image = photograph(*shape)
    if mode == "RGBA":
        image.putalpha(image.getchannel(0).point(lambda x: max(0, 2 * x - 200)))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    expected = decode(file.getvalue(), 64, background="#c81e5a")[2].astype(int)
    difference = np.abs(square(file.getvalue(), 64, [200, 30, 90]) - expected)
    # Of tall images, Pillow resizes the columns first, which rounds otherwise.
    highest, mean = (2, 0.4) if mode == "RGBA" else (1, 0.2) if shape[0] < shape[1] else (0, 0.001)
    assert difference.max() <= highest and difference.mean() < mean


@pytest.mark.parametrize("shape", [(300, 260), (530, 300), (700, 900)])  # at 1/2, 1/4 and 1/8
@pytest.mark.parametrize(("subsampling", "most"), [("4:4:4", 0.4), ("4:2:2", 0.45), ("4:2:0", 0.4)])
def test_a_jpeg_file_is_divided_as_its_decoder_does(shape, subsampling, most):
    """If the script did not divide them, the mean difference would be 0.55 to 4.1."""
    file = io.BytesIO()
    photograph(*shape).save(file, "JPEG", quality=95, subsampling=subsampling)
    difference = np.abs(square(file.getvalue(), 64, [0, 0, 0]) - decode(file.getvalue(), 64)[2].astype(int))
    assert difference.mean() < most and difference.max() < 6


def answer(classes, maps, kernel, bias, **values):
    """What the script says about feature maps, float32 [places, depth]."""
    depth = maps.shape[1]
    description = {"classes": classes, "threshold": 0.5, "set_threshold": 0, "novelty_threshold": None} | values
    parts = {"mean": np.zeros(depth), "components": np.zeros((2, depth))}
    parts |= {name: description.pop(name) for name in list(parts) if name in description}
    head = {"kernel": kernel, "bias": bias}
    return call("classify", maps, description, {"depth": depth, "head": head, "novelty": parts})


@pytest.fixture
def maps():
    return np.random.default_rng(0).uniform(0, 3, (9, 20)).astype(np.float32)


@pytest.mark.parametrize(("threshold", "predicted"), [(0.01, 1), (0.99, 0)])
def test_of_two_classes_the_threshold_decides(maps, threshold, predicted):
    kernel = np.random.default_rng(1).normal(size=(20, 1)) / 10
    found = answer(["ant", "bee"], maps, kernel, np.array([0.1]), threshold=threshold)
    probability = 1 / (1 + np.exp(-(maps.mean(axis=0) @ kernel + 0.1)[0]))
    assert 0.02 < probability < 0.98
    np.testing.assert_allclose(found["probabilities"], [1 - probability, probability], rtol=1e-5)
    assert (found["predicted"], found["set"], found["novelty"]) == (predicted, None, 0)
    evidence = np.maximum(0, (maps @ kernel)[:, 0] * (1 if predicted else -1))
    np.testing.assert_allclose(found["heat"], evidence / (evidence.max() or 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("set_threshold", "count"), [(0, 4), (0.2, None), (1, 1)])
def test_of_more_classes_there_is_a_set_with_the_predicted_one_first(maps, set_threshold, count):
    kernel = np.random.default_rng(2).normal(size=(20, 4)) / 10
    found = answer([*"abcd"], maps, kernel, np.zeros(4), set_threshold=set_threshold)
    powers = np.exp(maps.mean(axis=0) @ kernel)
    probabilities = powers / powers.sum()
    np.testing.assert_allclose(found["probabilities"], probabilities, rtol=1e-5)
    assert found["predicted"] == found["set"][0] == probabilities.argmax()
    assert len(found["set"]) == (count or (probabilities >= set_threshold).sum())
    evidence = np.maximum(0, maps @ kernel[:, probabilities.argmax()])
    np.testing.assert_allclose(found["heat"], evidence / evidence.max(), rtol=1e-4, atol=1e-6)


def test_the_novelty_is_that_of_the_saved_model(maps):
    rng = np.random.default_rng(3)
    mean = rng.normal(size=20).astype(np.float32) / 10
    components = np.linalg.qr(rng.normal(size=(20, 5)))[0].T.astype(np.float32)
    found = answer(
        [*"ab"], maps, np.zeros((20, 1)), np.zeros(1), mean=mean, components=components, novelty_threshold=0.25
    )
    expected = novelty.residuals(maps.mean(axis=0, keepdims=True), mean, lambda x: x @ components.T)[0] / 0.25
    assert found["novelty"] == pytest.approx(float(expected), rel=1e-4)
