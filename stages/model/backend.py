"""TensorFlow and Keras as the scripts need them: quiet, with the same bytes each time, and with memory that is reused.

Importing this module, or any other of the project, changes nothing; a script calls `start` under
`__name__ == "__main__"`, before its other imports.
"""

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator

from stages.common import cli


def start() -> None:
    """Prepares the process of a script that computes with TensorFlow: as cli.start, and `configure`."""
    cli.start()
    configure()


def configure() -> None:
    """Imports TensorFlow and Keras, without their output, and sets them up for the whole process.

    TensorFlow 2.21 writes a handful of lines to standard error while it is imported, before its own log level counts.
    They are held back, and shown only if the import fails.
    """
    _keep_freed_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings off, errors on
    if "TF_CONFIG" in os.environ:
        # On some processors with AVX-512, oneDNN's kernels fail in TensorFlow 2.21 in the graph of a replica: "input
        # depth must be evenly divisible by filter depth". Without them, workers without a GPU are slower, but work
        # everywhere.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # this and what is set below, whatever the user's keras.json says
    with cli.quiet(), _lean_imports():
        import keras
        import tensorflow as tf

        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        keras.config.set_image_data_format("channels_last")
        # The same bytes each time, whatever order threads finish in.
        tf.config.experimental.enable_op_determinism()
        # Without this, the first op writes another few lines about what hardware there is.
        tf.config.list_physical_devices()


def release_memory() -> None:
    """Gives freed memory back to the kernel, where glibc keeps it for further tensors: half of a gigabyte and more."""
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _keep_freed_memory() -> None:
    """Lets glibc keep a freed tensor for the next one.

    By default it gives large blocks back to the kernel, which zeroes them page by page when they are asked for again:
    half the time of a step (docs/benchmarks.md).
    """
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it; numbers as in malloc.h
        for option, value in {
            "M_ARENA_MAX": (-8, 1),
            "M_MMAP_THRESHOLD": (-3, 2**30),
            "M_TRIM_THRESHOLD": (-1, 2**31 - 1),
            "M_TOP_PAD": (-2, 2**26),
        }.values():
            ctypes.CDLL(None).mallopt(option, value)


@contextlib.contextmanager
def _lean_imports() -> Iterator[None]:
    """Saves a third of the time that Keras and TensorFlow take to be imported."""
    # Importing these two, which are optional, takes a quarter of Keras's import time; what needs them is not used here.
    unused = [name for name in ("matplotlib.pyplot", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unused))  # type: ignore[arg-type]
    gc.disable()  # a tenth of the time of a stage went into looking for garbage among all that the import makes
    yield
    for name in unused:
        del sys.modules[name]
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 50)  # tracing makes many objects, too
