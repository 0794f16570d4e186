"""Grad-CAM: where in a picture the network sees a class (R. R. Selvaraju et al., ICCV 2017)."""

import numpy as np

from stages.common.tensorflow import tf

BATCH = 32  # pictures at once


def maps(network, pixels, labels):
    """Returns a heat map per picture: how much each place speaks for the class that is asked about.

    The channels of the base's last feature maps are summed, each weighted by the mean gradient of the class's logit with
    respect to it; what is below 0 speaks against the class and becomes 0 (eq. 1 and 2). The map is as coarse as those
    feature maps, size / 32 places a side, and bilinearly enlarged.

    Args:
        network: what network.build made.
        pixels: uint8 [N, size, size, 3].
        labels: int [N], the class asked about: its place among the class names.

    Returns:
        float32 [N, size, size] in [0, 1]; the highest value of each is 1, or 0 where nothing speaks for the class.
    """
    size = network.input_shape[1]
    cut = [layer.name for layer in network.layers].index("base") + 1
    below, above = network.layers[1:cut], network.layers[cut:]

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8), tf.TensorSpec([None], tf.int64)])
    def explain(pixels, labels):
        features = tf.cast(pixels, tf.float32)
        for layer in below:
            features = layer(features)
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = features
            for layer in above:
                logits = layer(logits)
            if logits.shape[1] == 1:  # one logit z, of the second class: it speaks for the first as -z
                logits = tf.concat([-logits, logits], axis=1)
            asked = tf.gather(logits, labels, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(asked, features), axis=[1, 2], keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=3, keepdims=True))
        heat = tf.image.resize(heat, [size, size])[..., 0]
        return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=[1, 2], keepdims=True))

    starts = range(0, len(labels), BATCH)
    parts = [explain(pixels[i : i + BATCH], labels[i : i + BATCH]).numpy() for i in starts]
    return np.concatenate(parts) if parts else np.empty((0, size, size), np.float32)
