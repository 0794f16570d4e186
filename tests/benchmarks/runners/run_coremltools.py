"""Converts the signatures of a SavedModel to Core ML; running the results needs a Mac."""

import sys
from pathlib import Path

import coremltools
import tensorflow as tf

folder, _, out = sys.argv[1:]
model = tf.saved_model.load(folder)
size = int(model.image_size)
sources = {"the folder": folder} | {name: [function] for name, function in model.signatures.items()}
for name, source in sources.items():
    image = coremltools.ImageType(name="images", shape=(1, size, size, 3))  # `convert` writes into it
    try:
        converted = coremltools.convert(source, "tensorflow", None if name == "serving_bytes" else [image])
    except Exception as error:  # its type depends on the operator that it does not know
        print(f"{name} does not convert ({error})")
    else:
        outputs = [output.name for output in converted.get_spec().description.output]
        print(f"{name} converts, to the outputs {', '.join(outputs)}")
Path(out).write_text("{}")
