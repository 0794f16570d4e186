"""Runs LiteRT's Interpreter, with XNNPACK or, as SETTING says, without, or its CompiledModel."""

import numpy as np
import runner
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def load(file, setting):
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if setting == "without XNNPACK" else OpResolverType.AUTO
    interpreter = Interpreter(file, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    [images], outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(image):
        interpreter.set_tensor(images["index"], image.astype(images["dtype"]))
        interpreter.invoke()
        values = [interpreter.get_tensor(output["index"]) for output in outputs]
        return runner.named(runner.dequantize(x, *o["quantization"]) for x, o in zip(values, outputs, strict=True))

    if setting != "CompiledModel":
        return predict
    model = CompiledModel.from_file(file)
    inputs, buffers = model.create_input_buffers(0), model.create_output_buffers(0)

    def predict_compiled(image):
        inputs[0].write(np.ascontiguousarray(image.astype(images["dtype"])))
        model.run_by_index(0, inputs, buffers)
        values = [
            buffer.read(int(np.prod(output["shape"])), output["dtype"])
            for buffer, output in zip(buffers, outputs, strict=True)
        ]
        return runner.named(runner.dequantize(x, *o["quantization"]) for x, o in zip(values, outputs, strict=True))

    return predict_compiled


runner.run(load)
