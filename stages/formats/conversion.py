"""Conversion of a SavedModel to LiteRT and ONNX files, int8 in a second process."""

import contextlib
import multiprocessing
import signal
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from stages.common import cli, files
from stages.common.cli import UserError
from stages.common.dataset import Split
from stages.formats import litert, litert_metadata, onnx_model
from stages.model import backend, saved_model


def use_one_thread() -> None:
    """Sets TensorFlow to one thread, as the other runtimes: comparable times, and the same bits on every processor."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def convert(path: str, split: Split, folder: Path) -> Any:
    """Writes float16.tflite, int8.tflite, model.onnx and labels.txt into `folder`; returns the loaded SavedModel.

    Images of `split` calibrate int8. A second process makes int8, which is half of the work.
    """
    labels = "".join(f"{' '.join(name.splitlines())}\n" for name in split.classes)  # a name of two lines is one label
    (folder / litert_metadata.LABELS).write_text(labels, encoding="utf-8")
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with files.scratch(folder) as scratch, ProcessPoolExecutor(1, spawn, start_second_process) as second:
        with cli.quiet():  # the second process writes its standard error there until it ends
            second.submit(int)  # starts the process, while the next lines run
        model = saved_model.load(path)
        with converting(path, "LiteRT"):
            litert.fix_batch(model, scratch / "single")
            int8 = second.submit(litert.int8, scratch / "single", split.pixels[litert.calibration_rows(split.labels)])
            float16 = litert.float16(scratch / "single")
        with converting(path, "ONNX"):
            (folder / "model.onnx").write_bytes(onnx_model.convert(model, split.classes))
        with converting(path, "LiteRT"):
            for name, content in {"float16": float16, "int8": int8.result()}.items():
                content = litert_metadata.add(content, labels, int(model.image_size), float(model.temperature))
                (folder / f"{name}.tflite").write_bytes(content)
    return model


def start_second_process() -> None:
    backend.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the first process, which reports it in one line
    use_one_thread()


@contextlib.contextmanager
def converting(path: str, name: str) -> Iterator[None]:
    """Hides what a converter prints, and turns its failure, of whatever type, into a UserError."""
    with cli.quiet():
        try:
            yield
        except Exception as error:
            reason = textwrap.shorten(str(error), 300)
            raise UserError(f"{path} cannot be converted to {name}: {reason}. Fix that and run again.") from None
