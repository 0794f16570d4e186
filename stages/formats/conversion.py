"""Conversion of a SavedModel to LiteRT and ONNX files."""

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

from stages.common import cli
from stages.common.cli import UserError
from stages.common.dataset import Split
from stages.formats import litert, litert_metadata, onnx_model, quantization
from stages.model import network, saved_model


def convert(path: str, split: Split, folder: Path) -> None:
    """Writes float16.tflite, int8.tflite, model.onnx and labels.txt into `folder`; images of `split` calibrate int8."""
    labels = "".join(f"{' '.join(name.splitlines())}\n" for name in split.classes)  # a name of two lines is one label
    (folder / litert_metadata.LABELS).write_text(labels, encoding="utf-8")
    classifier = network.build(split.image_size, len(split.classes))
    temperature = saved_model.restore(classifier.weights, path)
    pca = saved_model.read_pca(path)
    with converting(path, "ONNX"):
        (folder / "model.onnx").write_bytes(onnx_model.convert(classifier, split.classes, temperature, pca))
    with converting(path, "LiteRT"):
        float32 = litert.convert(path)
        int8 = quantization.quantize(float32, split.pixels[quantization.calibration_rows(split.labels)])
        for name, content in {"float16": litert.float16(float32), "int8": int8}.items():
            content = litert_metadata.add(content, labels, split.image_size, temperature)
            (folder / f"{name}.tflite").write_bytes(content)


@contextlib.contextmanager
def converting(path: str, name: str) -> Iterator[None]:
    """Hides what a converter prints, and turns its failure, of whatever type, into a UserError."""
    with cli.quiet():
        try:
            yield
        except Exception as error:
            reason = textwrap.shorten(str(error), 300)
            raise UserError(f"{path} cannot be converted to {name}: {reason}. Fix that and run again.") from None
