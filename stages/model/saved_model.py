"""The model on disk: a TensorFlow SavedModel that serves by itself and that fine-tuning continues from."""

from stages.model import serving_decoder
from stages.common.cli import UserError
from stages.model.backend import ops, tf

RUNNING_NUMBER = 1_000_000  # names in a SavedModel end in TensorFlow's; training to that point may take any fewer


def save(network, classes, temperature, folder):
    """Writes a SavedModel, with the same bytes each time for the same weights.

    `tf.saved_model.load(folder)` gives an object with

    - `signatures["serving_default"]`: `images`, float32 [N, image_size, image_size, 3], raw pixels in [0, 255], to
      {"probabilities": float32 [N, C]}, the columns in the order of `class_names`; `signatures["serving_uint8"]`: the
      same from uint8. Called as a function, the object takes either type;
    - `signatures["serving_bytes"]`: `image_bytes`, string [N], whole JPEG or PNG files, to the same, as
      serving_decoder.decode reads them. One that it cannot read fails the whole call. TensorFlow Serving takes them in
      Base64, {"b64": ...}, because the name ends in _bytes;
    - `feature_maps`, a function from uint8 [N, image_size, image_size, 3] to what comes out of MobileNetV2, float32
      [N, image_size / 32, image_size / 32, 1280], before the mean over all places and the last layer;
    - `class_names`, str [C], `image_size`, int32 [], and `temperature`, float32 [] (calibration.apply), as variables;
    - `weights`, the variables of the network in Keras's order.

    Args:
        network: what network.build made.
        classes: list of str, C class names.
        temperature: what calibration.fit returns for the network.
        folder: a path that does not exist yet.

    Raises:
        UserError: it cannot be written.
    """
    image_size = network.input_shape[1]
    while ops.uid() < RUNNING_NUMBER:
        pass

    cut = [layer.name for layer in network.layers].index("base") + 1

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.float32)])
    def look(images):
        for layer in network.layers[1:cut]:
            images = layer(images)
        return images

    look = look.get_concrete_function()  # traced once, for all that is called from outside

    @tf.function(autograph=False)
    def predict(images):
        logits = look(tf.cast(images, tf.float32))
        for layer in network.layers[cut:]:
            logits = layer(logits)
        if len(classes) == 2:  # one logit z: softmax over (0, z) is (sigmoid(-z), sigmoid(z))
            logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
        return {"probabilities": tf.nn.softmax(logits)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(image_bytes):
        square = tf.TensorSpec([image_size, image_size, 3], tf.uint8)
        return predict(tf.map_fn(lambda data: serving_decoder.decode(data, image_size), image_bytes, fn_output_signature=square))

    # A plain tf.Module with the variables in a list: Keras's own export differs in bytes at every save.
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    module.class_names = tf.Variable(classes, trainable=False)
    module.image_size = tf.Variable(image_size, trainable=False)
    module.temperature = tf.Variable(temperature, trainable=False, dtype=tf.float32)
    module.__call__ = predict
    module.feature_maps = tf.function(
        lambda images: look(tf.cast(images, tf.float32)), autograph=False,
        input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, name="images")],
    )
    signatures = {
        name: predict.get_concrete_function(
            tf.TensorSpec([None, image_size, image_size, 3], dtype, name="images")
        )
        for name, dtype in {"serving_default": tf.float32, "serving_uint8": tf.uint8}.items()
    }
    signatures["serving_bytes"] = predict_bytes.get_concrete_function()
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:  # a full disk, which TensorFlow does not report as an OSError
        raise UserError(f"{folder} cannot be written: {error.message}. Mend that and run again.") from None
    (folder / "fingerprint.pb").unlink()  # optional, and it holds a random number


def load(folder):
    """Loads a SavedModel that `save` wrote.

    Raises:
        UserError: there is none, or no whole one.
    """
    try:
        model = tf.saved_model.load(folder)
    except Exception as error:  # of many types, depending on what is missing or cut off
        raise UserError(f"{folder} holds no SavedModel, or no whole one: run `dvc repro` first ({error}).") from None
    if not hasattr(model, "temperature"):
        raise UserError(f"{folder} holds a SavedModel of another program, or of an earlier version: run `dvc repro`.")
    return model


def restore(weights, folder):
    """Gives `weights` the values of a SavedModel that `save` wrote for a network of the same size and classes.

    Only arrays are read: loading all of it takes ten times as long.

    Args:
        weights: the variables of a network in Keras's order, or `weights` of a SavedModel that was loaded.
        folder: the SavedModel.

    Returns:
        float, its temperature.

    Raises:
        UserError: there is none, or no whole one.
    """
    try:
        reader = tf.train.load_checkpoint(f"{folder}/variables/variables")
        for number, variable in enumerate(weights):
            variable.assign(reader.get_tensor(f"weights/{number}/.ATTRIBUTES/VARIABLE_VALUE"))
        return float(reader.get_tensor("temperature/.ATTRIBUTES/VARIABLE_VALUE"))
    except Exception as error:  # of many types, depending on what is missing or cut off
        raise UserError(f"{folder} holds no SavedModel of ours, or no whole one: run `dvc repro` first ({error}).") from None
