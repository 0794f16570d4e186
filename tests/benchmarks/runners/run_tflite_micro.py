"""Runs TensorFlow Lite Micro's interpreter for Python, in the smallest arena in which it allocates the file."""

import runner
from tflite_micro.python.tflite_micro import runtime

STEP, LARGEST = 10_000, 40_000_000  # bytes


def load(file):
    smallest, enough = 0, LARGEST
    interpreter = runtime.Interpreter.from_file(file, arena_size=enough)
    while enough - smallest > STEP:
        size = (smallest + enough) // 2
        try:
            interpreter = runtime.Interpreter.from_file(file, arena_size=size)
            enough = size
        except RuntimeError:
            smallest = size
    print(f"runs in an arena of {enough / 1e6:.2f} MB")
    dtype, outputs = interpreter.get_input_details(0)["dtype"], count_outputs(interpreter)

    def predict(image):
        interpreter.set_input(image.astype(dtype), 0)
        interpreter.invoke()
        return runner.named(output(interpreter, number) for number in range(outputs))

    return predict


def count_outputs(interpreter):
    try:
        interpreter.get_output_details(1)
    except IndexError:
        return 1
    return 2


def output(interpreter, number):
    parameters = interpreter.get_output_details(number)["quantization_parameters"]
    return runner.dequantize(interpreter.get_output(number), parameters["scales"], parameters["zero_points"])


runner.run(load)
