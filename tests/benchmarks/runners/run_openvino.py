"""Runs OpenVINO on the CPU, with the precision that it chooses or SETTING, its INFERENCE_PRECISION_HINT."""

import openvino
import runner


def load(file, *precision):
    hints = dict(zip(["INFERENCE_PRECISION_HINT"], precision, strict=False))
    model = openvino.Core().compile_model(file, "CPU", hints)
    print("computes in", model.get_property("INFERENCE_PRECISION_HINT").to_string())
    dtype = model.input(0).element_type.to_dtype()
    return lambda image: runner.named(list(model(image.astype(dtype)).values()))


runner.run(load)
