import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from stages.formats import litert
from stages.model import network, saved_model
from tests.support import amplify


@pytest.mark.parametrize("classes", [["cat", "dog"], ["cat", "cow", "dog"]])
def test_int8_computes_in_integers_alone(shallow, tmp_path, classes):
    keras.utils.set_random_seed(0)
    model = network.build(32, len(classes))
    amplify(model)
    saved_model.save(model, classes, 1, tmp_path / "model")
    litert.fix_batch(saved_model.load(tmp_path / "model"), tmp_path / "single")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    interpreter = Interpreter(model_content=litert.int8(tmp_path / "single", images))
    assert {tensor["dtype"] for tensor in interpreter.get_tensor_details()} == {np.uint8, np.int8, np.int32}
