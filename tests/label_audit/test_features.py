import numpy as np

from stages.label_audit import features
from stages.model import network
from stages.model.mobilenet_v2 import mobilenet_v2, unfold
from tests.support import make_split


def test_they_are_what_the_head_of_a_network_with_these_weights_takes(shallow, tmp_path):
    model = network.build(32, 3)
    keras_base = mobilenet_v2(32, batch_normalization=True)
    keras_base.set_weights(unfold(model.get_layer("base").get_weights()))
    keras_base.save_weights(tmp_path / "base.weights.h5")
    splits = [make_split(count, ["a", "b", "c"], seed=count) for count in (10, 5, 3)]
    extracted = features.extract(splits, tmp_path / "base.weights.h5", batch_size=4)
    assert extracted.shape == (18, 1280) and extracted.dtype == np.float32
    kernel, bias = model.get_layer("logits").get_weights()
    logits = np.concatenate([model(split.pixels.astype("float32"), training=False) for split in splits])
    np.testing.assert_allclose(extracted @ kernel + bias, logits, atol=1e-4)
