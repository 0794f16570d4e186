"""Set-up of TensorFlow and Keras for scripts: quiet, deterministic, and with memory that is reused.

Importing this module changes nothing; a script calls `start` under `__name__ == "__main__"`, before its other imports.
"""

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterable, Iterator

from stages.common import cli

# glibc's M_ARENA_MAX, in arenas, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes; numbers as in malloc.h.
# With them, glibc keeps freed memory for the next tensor. By default it gives large blocks back to the kernel, which
# zeroes them page by page when they are asked for again.
MALLOC_OPTIONS = {-8: 1, -3: 2**30, -1: 2**31 - 1, -2: 2**26}
# TensorFlow cuts sums of products by the number of threads, by default that of the cores: each number gives other last
# digits, and training other weights. What four cost on two cores is in docs/benchmarks.md.
THREADS = 4
# Optional dependencies of Keras that take a fifth of its import time, for features that this project does not use.
UNUSED_BY_KERAS = ("matplotlib.pyplot", "sklearn")


def start() -> None:
    """Prepares the process of a script that computes with TensorFlow."""
    cli.start()
    configure()


def configure() -> None:
    """Imports TensorFlow and Keras, without their output, and sets them up for the whole process.

    TensorFlow 2.21 writes a handful of lines to standard error while it is imported, before its own log level counts.
    They are shown only if the import fails.
    """
    with contextlib.suppress(AttributeError, OSError):  # only glibc has mallopt
        for option, value in MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings off, errors on
    if "TF_CONFIG" in os.environ:
        # On some processors with AVX-512, oneDNN's kernels fail in TensorFlow 2.21 in the graph of a replica: "input
        # depth must be evenly divisible by filter depth". Without them, workers without a GPU are slower.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # this and the settings below override the user's keras.json
    gc.disable()  # looking for garbage takes a tenth of the time of the imports
    with cli.quiet(), _unimportable(UNUSED_BY_KERAS):
        import keras
        import tensorflow as tf

        keras.config.set_floatx("float32")
        keras.config.set_epsilon(1e-7)
        keras.config.set_image_data_format("channels_last")
        tf.config.experimental.enable_op_determinism()  # the same bytes, in whatever order threads finish
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.list_physical_devices()  # writes lines about the hardware, which the first op would write otherwise
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 50)  # rarer than usual: tracing makes many objects that stay


def use_one_thread_per_call() -> None:
    """Sets TensorFlow to one thread for each call: where several are made at a time, they take less of the processor.

    Predicting one image takes half of the processor time that four threads take for it.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)


def use_one_thread() -> None:
    """Sets TensorFlow to one thread, as the other runtimes: comparable times, and the same bits on every processor."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def release_memory() -> None:
    """Gives freed memory back to the kernel, half of a gigabyte and more, which glibc keeps for further tensors."""
    with contextlib.suppress(AttributeError, OSError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _unimportable(names: Iterable[str]) -> Iterator[None]:
    """Lets imports of these modules fail in the block, unless they are imported already.

    None in sys.modules is Python's own way to make an import fail (The import system, section 5.3.1).
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
