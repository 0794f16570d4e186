#!/usr/bin/env bash
# TensorFlow's LiteRT calibrator measures the range of a tensor after a later operator has written its own output into
# the same memory: the interpreter lets ADD, MUL and the like work in place. The range of a term is then also that of the
# sum, and int8 has fewer steps for it than it could have.
#
# Expected: x / 127.5 of pixels in [0, 255] has the range [0, 2], a scale of 2 / 255 = 0.0078 and a zero point of -128.
# Seen with tensorflow 2.21.0 (Python 3.11), where x / 127.5 - 1 follows:
#
#     x / 127.5: scale 0.0118, zero point -43
#     x / 127.5 - 1: scale 0.0078, zero point -1
#
# That is the range [-1, 2], of which 85 of 255 steps stand for nothing. In MobileNetV2, the same happens to the
# projections in front of an addition. Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q tensorflow==2.21.0
cat > calibrate.py <<'PYTHON'
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
kernel = rng.normal(size=(3, 3, 3, 4)).astype("float32")
images = rng.uniform(0, 255, (8, 1, 8, 8, 3)).astype("float32")
images[0, 0, 0, 0, :2] = 0, 255


def network(x):
    return tf.nn.relu(tf.nn.conv2d(x / 127.5 - 1, kernel, 1, "SAME"))


graph = tf.function(network, input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32)]).get_concrete_function()
converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.representative_dataset = lambda: ([image] for image in images)
interpreter = tf.lite.Interpreter(model_content=converter.convert())
found = {tensor["name"]: tensor["quantization"] for tensor in interpreter.get_tensor_details()}
for title, name in {"x / 127.5": "truediv;truediv/y1", "x / 127.5 - 1": "sub"}.items():
    print(f"{title}: scale {found[name][0]:.4f}, zero point {found[name][1]}")
PYTHON
seen=$(TF_CPP_MIN_LOG_LEVEL=3 .venv/bin/python calibrate.py 2>/dev/null)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
x / 127.5: scale 0.0118, zero point -43
x / 127.5 - 1: scale 0.0078, zero point -1
SEEN
