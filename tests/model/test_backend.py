import os
import subprocess
import sys

import pytest

from stages.model import backend
from tests.support import ROOT, environment

ONE_STEP = """
import hashlib, os, sys
if sys.argv[1] == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from stages.model import backend
backend.configure()
import keras, numpy as np, tensorflow as tf
from stages.model import network
keras.utils.set_random_seed(0)
model = network.build(96, 3)
images = tf.constant(np.random.default_rng(0).uniform(0, 255, (32, 96, 96, 3)), tf.float32)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(images, training=True))
gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
print(hashlib.sha256(b"".join(x.numpy().tobytes() for x in [loss, model(images[:5]), *gradients])).hexdigest())
"""


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_modules_are_unimportable_in_the_block_alone(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(error), backend._unimportable(["wave", "json"]):
        import json  # noqa: F401, which is imported already

        with pytest.raises(ImportError):
            import wave
        raise error
    import wave

    assert wave.open


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="binds a process to one core, as Linux can")
def test_gradients_and_outputs_have_the_same_bytes_on_one_core_and_on_all():
    command = [sys.executable, "-c", ONE_STEP]
    one, every = (
        subprocess.run([*command, cores], cwd=ROOT, env=environment(), check=True, capture_output=True).stdout
        for cores in ("one", "all")
    )
    assert one == every
