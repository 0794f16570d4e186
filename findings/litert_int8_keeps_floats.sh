#!/usr/bin/env bash
# TensorFlow's LiteRT converter, asked for integer operators alone (TFLITE_BUILTINS_INT8), leaves float32 operators in
# the file without a word where tf.zeros_like has a batch of unknown size.
#
# Expected: an error that names the operator without an integer kernel, as the documentation of full integer
# quantization promises, or a file of integers. Seen with tensorflow 2.21.0 and ai-edge-litert 2.3.0 (Python 3.11):
#
#     concatenated: FULLY_CONNECTED DEQUANTIZE ZEROS_LIKE CONCATENATION QUANTIZE SOFTMAX (float32, int8)
#     multiplied: FULLY_CONNECTED MUL SOFTMAX (int8)
#
# Both are softmax over (0, z). An Ethos-U runs the four operators in the middle of the first on the CPU (ethos-u-vela
# reports them); of the second it runs all. Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q tensorflow==2.21.0 ai-edge-litert==2.3.0
cat > convert.py <<'PYTHON'
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

module = tf.Module()
module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(4, 1)).astype("float32"))
images = np.random.default_rng(1).normal(size=(20, 1, 4)).astype("float32")


def concatenated(x):
    z = tf.matmul(x, module.kernel)
    return tf.nn.softmax(tf.concat([tf.zeros_like(z), z], axis=1))


def multiplied(x):
    return tf.nn.softmax(tf.matmul(x, module.kernel) * tf.constant([0.0, 1.0]))


for function in (concatenated, multiplied):
    graph = tf.function(function, input_signature=[tf.TensorSpec([None, 4], tf.float32)]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.representative_dataset = lambda: ([image] for image in images)
    interpreter = Interpreter(model_content=converter.convert())
    operators = " ".join(operator["op_name"] for operator in interpreter._get_ops_details())
    types = ", ".join(sorted({tensor["dtype"].__name__ for tensor in interpreter.get_tensor_details()}))
    print(f"{function.__name__}: {operators} ({types})")
PYTHON
seen=$(TF_CPP_MIN_LOG_LEVEL=3 .venv/bin/python convert.py 2>/dev/null)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
concatenated: FULLY_CONNECTED DEQUANTIZE ZEROS_LIKE CONCATENATION QUANTIZE SOFTMAX (float32, int8)
multiplied: FULLY_CONNECTED MUL SOFTMAX (int8)
SEEN
