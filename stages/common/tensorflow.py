"""TensorFlow and Keras, imported without their chatter: `from stages.common.tensorflow import keras, tf`.

TensorFlow 2.21 writes a handful of lines to standard error while it is imported, before its own log level counts. They
are held back, and shown only if the import fails.
"""

import os

from stages.common import command

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings off, errors on
os.environ["KERAS_BACKEND"] = "tensorflow"  # this and what is set below, whatever the user's keras.json says

with command.quiet():
    import keras  # noqa: F401
    import tensorflow as tf  # noqa: F401
    from tensorflow.python.framework import ops  # noqa: F401

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    # The same bytes each time, whatever order threads finish in.
    tf.config.experimental.enable_op_determinism()
    # Without this, the first op writes another few lines about what hardware there is.
    tf.config.list_physical_devices()
