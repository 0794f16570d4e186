#!/usr/bin/env bash
# coremltools.convert writes the type of the model's input into the ImageType that the caller gave it, so the same
# object fails with the next model, and the error names an operator of that model, not the input.
#
# Expected: the argument stays as it is, and both models convert, as they do with a new ImageType for each call. Seen
# with coremltools 9.0 and TensorFlow 2.21.0 (Python 3.11):
#
#     a new ImageType each: uint8 converts, float32 converts
#     the same ImageType: uint8 converts, float32 fails with a ValueError
#
# Fails if the output changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv .venv
.venv/bin/pip install -q coremltools==9.0 tensorflow-cpu==2.21.0
cat > convert.py <<'PYTHON'
import coremltools
import tensorflow as tf


def scale(dtype):
    function = tf.function(lambda images: tf.cast(images, tf.float32) * 0.5)
    return function.get_concrete_function(tf.TensorSpec([1, 8, 8, 3], dtype, name="images"))


def convert(dtype, image):
    try:
        coremltools.convert([scale(dtype)], source="tensorflow", inputs=[image])
    except Exception as error:
        return f"{dtype.name} fails with a {type(error).__name__}"
    return f"{dtype.name} converts"


def image_type():
    return coremltools.ImageType(name="images", shape=(1, 8, 8, 3))


same = image_type()
print("a new ImageType each:", ", ".join(convert(dtype, image_type()) for dtype in (tf.uint8, tf.float32)))
print("the same ImageType:", ", ".join(convert(dtype, same) for dtype in (tf.uint8, tf.float32)))
PYTHON
seen=$(.venv/bin/python convert.py 2> /dev/null)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
a new ImageType each: uint8 converts, float32 converts
the same ImageType: uint8 converts, float32 fails with a ValueError
SEEN
