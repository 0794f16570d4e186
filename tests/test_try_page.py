"""The page to try the model, from models with random weights and a made-up runtime."""

import base64
import hashlib
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from stages import try_page
from stages.common import cli
from stages.model import network, saved_model
from tests.support import MARKED_NAMES

PAGE = Path("plots/try.html")
RUNTIME = {"tf-core.js": b"var tf = {};", "tf-backend-wasm.js": b"tf.wasm = {};", "simd.wasm": b"\0asm\1\0\0\0"}


@pytest.fixture
def run(workplace, shallow):
    """A function that writes the SavedModel of a network of these classes, with values, and the runtime."""

    def write(classes, **values):
        keras.utils.set_random_seed(0)
        model = network.build(32, len(classes))
        saved_model.save(model, classes, 1.5, Path("first"), "#102030")
        saved_model.copy("first", Path(try_page.SAVED_MODEL), values)
        write_runtime(RUNTIME)
        return model

    Path("data/models").mkdir(parents=True)
    return write


def write_runtime(files):
    folder = Path(try_page.RUNTIME)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def elements(page):
    """{id: text} of the data, and the texts of the scripts that run."""
    return dict(re.findall(r'<script type="[^"]+" id="(\w+)">(.*?)</script>', page)), re.findall(
        r"<script>(.*?)</script>", page, re.DOTALL
    )


@pytest.mark.parametrize("classes", [["ant", "bee"], ["ant", "bee", "wasp"], MARKED_NAMES])
def test_the_page_has_the_model_as_float16_and_what_its_script_must_know(run, classes, capsys):
    components = np.random.default_rng(0).normal(size=(64, 1280)).astype(np.float32)
    values = {"threshold": 0.3, "set_threshold": 0.2, "novelty_components": components, "novelty_threshold": 0.5}
    model = run(classes, **values)
    try_page.main()
    assert re.fullmatch(r"A page to try the model: plots/try.html \([\d.]+ [kM]B\); .*\n", capsys.readouterr().out)
    data, _ = elements(PAGE.read_text(encoding="utf-8"))
    described = json.loads(data["data"])
    layers = described.pop("layers")
    assert described == {
        "classes": classes,
        "names": [cli.printable(name) for name in classes],
        "size": 32,
        "background": [16, 32, 48],
        "threshold": 0.3,
        "set_threshold": 0.2,
        "novelty_threshold": 0.5,
        "novelty_components": 64,
    }
    arrays = [weight.numpy() for weight in model.weights]
    for name, dtype, expected in [
        ("kernels", np.float16, [*arrays[::2], np.zeros(1280), components]),
        ("biases", np.float32, arrays[1::2]),
    ]:
        found = np.frombuffer(base64.b64decode(data[name]), dtype)
        np.testing.assert_array_equal(found, np.concatenate([np.ravel(x) for x in expected]).astype(dtype))
    convolutions = [layer for layer in layers if "kernel" in layer]
    assert [layer["kernel"] for layer in convolutions] == [[*x.shape] for x in model.weights if len(x.shape) == 4]
    assert base64.b64decode(data["wasm"]) == RUNTIME["simd.wasm"]


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(run):
    run(["<b>", "</script><script>alert(1)</script>"])
    try_page.main()
    page = PAGE.read_text(encoding="utf-8")
    _, scripts = elements(page)
    assert [script[:20] for script in scripts[:2]] == ["var tf = {};", "tf.wasm = {};"] and len(scripts) == 4
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'" and "connect-src" not in rules
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules.pop("script-src") == " ".join(["'wasm-unsafe-eval'", *(f"'sha256-{x}'" for x in hashes)])
    assert not re.findall(r"<b>|alert\(1\)</", page.partition("<main>")[0].partition("</head>")[2])
    assert "http:" not in page.partition("<script>")[0] and "https:" not in page.partition("<script>")[0]


def test_the_same_model_gives_the_same_bytes(run):
    run(["ant", "bee"])
    try_page.main()
    first = PAGE.read_bytes()
    try_page.main()
    assert PAGE.read_bytes() == first
    data, _ = elements(first.decode())
    assert json.loads(data["data"])["novelty_threshold"] is None  # infinite, which JSON does not have


def test_a_parameter_leaves_the_page_out_and_asks_for_nothing(workplace):
    workplace.set({"export.try_page": False})
    try_page.main()
    page = PAGE.read_text(encoding="utf-8")
    assert "set export.try_page to true in params.yaml" in page and "<script" not in page and len(page) < 500


@pytest.mark.parametrize("damaged", ["tf-core.js", "simd.wasm", ""])
def test_without_the_runtime_the_error_says_what_to_run(run, damaged):
    run(["ant", "bee"])
    for path in Path(try_page.RUNTIME).iterdir():
        if not damaged or path.suffix == Path(damaged).suffix:
            path.unlink()
    with pytest.raises(cli.UserError, match=r"data/runtime/tfjs holds no TensorFlow.js: run `dvc repro`"):
        try_page.main()
    write_runtime({"tf-core.js": b"'</script>'", "simd.wasm": b""})
    with pytest.raises(cli.UserError, match="holds no TensorFlow.js"):
        try_page.main()
    assert not PAGE.exists()
