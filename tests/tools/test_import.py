"""What `from stages.tools.predict import predict` and a call of it leave behind in a program of one's own."""

import json
import os
import subprocess
import sys

import pytest

from stages.model import network, saved_model
from tests.support import ROOT, make_images

# The libraries themselves add warning filters, environment variables and modules: the host has imported them before.
HOST = """
import gc, json, locale, logging, os, random, signal, sys, threading, warnings

def record_symbol(event, arguments):
    if event == "ctypes.dlsym":
        symbols.append(arguments[1])

symbols = []
sys.addaudithook(record_symbol)
sys.excepthook = lambda *_: None
gc.set_threshold(600, 7, 8)

import numpy as np, PIL.Image
import keras, matplotlib.pyplot, pandas, PIL.ImageCms, scipy.optimize, scipy.special, sklearn.metrics, tqdm
import tensorflow as tf
from tensorflow.python.framework import config

keras.config.set_floatx("float64")
keras.config.set_epsilon(1e-5)
keras.config.set_image_data_format("channels_first")
keras.config.set_dtype_policy("mixed_bfloat16")
warnings.filterwarnings("error", "a filter of the host")

np.set_printoptions(precision=3)
PIL.Image.MAX_IMAGE_PIXELS = 10**6

def random_operations_work():
    try:
        tf.random.normal([1])
        return True
    except RuntimeError:  # under op determinism, without a seed
        return False

def state():
    return {
        "excepthook": id(sys.excepthook),
        "threads": threading.active_count(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "warnings": [list(map(repr, warnings.filters)), id(warnings.showwarning)],
        "environment": dict(os.environ),
        "mallopt": "mallopt" in symbols,
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "random": [hash(random.getstate()), np.random.get_state()[1].tolist(), np.random.get_state()[2]],
        "numpy": repr([np.get_printoptions(), np.geterr()]),
        "matplotlib": [matplotlib.get_backend(), str(matplotlib.rcParams)],
        "pillow": [PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES],
        "process": [sys.path, os.getcwd(), locale.setlocale(locale.LC_ALL), logging.root.level],
        "determinism": [config.is_op_determinism_enabled(), random_operations_work()],
        "keras": [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(),
                  keras.config.dtype_policy().name],
    }

def modules():
    return [name for name, module in sys.modules.items() if module is None], dict(sys.modules)

def changed_modules(before):
    stubs, now = modules()
    return {"stubs": stubs, "replaced": [name for name in before if now.get(name) is not before[name]]}

stubs, before = modules()
states = [state()]
from stages.tools.predict import predict
states.append(state())
effects = {"stubs before": stubs, "import": changed_modules(before)}
_, before = modules()
predictions = [image.predicted for image in predict([sys.argv[1]], sys.argv[2])]
states.append(state())
effects["call"] = changed_modules(before)
print(json.dumps({"states": states, "modules": effects, "predictions": predictions}))
"""


@pytest.fixture(scope="module")
def host(weights, tmp_path_factory):
    """What a fresh process says of itself before it imports predict, after it, and after a call."""
    folder = tmp_path_factory.mktemp("host")
    made = network.build(32, 2)
    network.load_base(made, weights)
    saved_model.save(made, ["cat", "dog"], 1, folder / "model")
    make_images(folder / "images", {"any": 2})
    # Without what the tests' own process has set.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KERAS_", "TF_"))}
    result = subprocess.run(
        [sys.executable, "-c", HOST, folder / "images", folder / "model"],
        env={**environment, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("when", ["import", "call"])
@pytest.mark.parametrize(
    "what",
    ["excepthook", "threads", "gc", "warnings", "environment", "mallopt", "determinism", "keras"]
    + ["signals", "random", "numpy", "matplotlib", "pillow", "process"],
)
def test_the_host_stays_as_it_was(host, what, when):
    before, *after = (state[what] for state in host["states"])
    assert after[["import", "call"].index(when)] == before


@pytest.mark.parametrize("when", ["import", "call"])
def test_no_module_of_the_host_is_replaced_or_stubbed(host, when):
    assert host["modules"][when] == {"stubs": host["modules"]["stubs before"], "replaced": []}


def test_predictions_are_made(host):
    assert len(host["predictions"]) == 2 and set(host["predictions"]) <= {"cat", "dog"}
