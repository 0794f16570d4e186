"""Runs ONNX Runtime on the CPU."""

import onnxruntime
import runner


def load(file):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(names, {"images": image}), strict=True))


runner.run(load)
