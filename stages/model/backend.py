"""TensorFlow and Keras, imported without their chatter: `from stages.model.backend import keras, tf`.

TensorFlow 2.21 writes a handful of lines to standard error while it is imported, before its own log level counts. They
are held back, and shown only if the import fails.
"""

import contextlib
import ctypes
import gc
import os
import sys

from stages.common import cli

with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
    # A freed tensor is kept for the next one. By default glibc gives large blocks back to the kernel, which zeroes them page
    # by page when they are asked for again: half the time of a step (README, Speed). Numbers as in malloc.h.
    for option, value in {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**31 - 1),
                          "M_TOP_PAD": (-2, 2**26)}.values():
        ctypes.CDLL(None).mallopt(option, value)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings off, errors on
if "TF_CONFIG" in os.environ:
    # On some processors with AVX-512, oneDNN's kernels fail in TensorFlow 2.21 in the graph of a replica: "input depth must be
    # evenly divisible by filter depth". Without them, workers without a GPU are slower, but work everywhere.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ["KERAS_BACKEND"] = "tensorflow"  # this and what is set below, whatever the user's keras.json says

# Keras takes a quarter of its start for these two, whose wrappers and galleries are not used here. It does without.
unused = [name for name in ("matplotlib.pyplot", "sklearn") if name not in sys.modules]
sys.modules.update(dict.fromkeys(unused))
gc.disable()  # a tenth of the time of a stage went into looking for garbage among all that the import makes
with cli.quiet():
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401
    from tensorflow.python.framework import ops  # noqa: F401

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    # The same bytes each time, whatever order threads finish in.
    tf.config.experimental.enable_op_determinism()
    # Without this, the first op writes another few lines about what hardware there is.
    tf.config.list_physical_devices()
for name in unused:
    del sys.modules[name]
gc.freeze()
gc.enable()
gc.set_threshold(100_000, 50)  # tracing makes many objects, too


def release_memory():
    """Gives what is kept for further tensors back to the kernel, where glibc keeps it: half of a gigabyte and more."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
