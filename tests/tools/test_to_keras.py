import keras
import numpy as np
import pytest

from stages.common.cli import UserError
from stages.model import network, saved_model
from stages.tools import to_keras
from tests.support import principal_components

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


@pytest.fixture(params=[2, 3], ids=["two classes", "three classes"])
def folder(request, weights, tmp_path):
    made = network.build(32, request.param)
    network.load_base(made, weights)
    network.freeze_below(made, 100)
    saved_model.save(made, [str(number) for number in range(request.param)], 1, tmp_path / "saved")
    values = principal_components(network.feature_extractor(made)(IMAGES.astype(np.float32)).numpy(), 2)
    saved_model.copy(str(tmp_path / "saved"), tmp_path / "model", values)
    return tmp_path / "model"


def convert(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["to_keras", *map(str, arguments)])
    to_keras.main()


def test_keras_opens_the_file_and_gives_the_same_probabilities_and_novelty(folder, tmp_path, monkeypatch):
    convert(monkeypatch, tmp_path / "my model.keras", "--model", folder)
    model = keras.models.load_model(tmp_path / "my model.keras")
    expected = saved_model.load(folder)(IMAGES)
    assert np.ptp(expected["probabilities"].numpy()[:, 0]) > 1e-3 and np.ptp(expected["novelty"]) > 0.1
    for pixels in (IMAGES, IMAGES.astype("float32")):
        outputs = model.predict(pixels, verbose=0)
        # Random weights through which signals pass amplify roundings ten times as much as trained ones.
        np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-4)
        np.testing.assert_allclose(outputs["novelty"], expected["novelty"], atol=2e-3)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.get_layer("mobilenetv2_1.00_32").layers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "my model.keras", "saved"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out.h5"], "out.h5 must end in .keras"),
        (["out.keras", "--model", "none"], "none holds no complete SavedModel"),
    ],
)
def test_what_a_user_can_get_wrong_leaves_nothing(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        convert(monkeypatch, *arguments)
    assert list(tmp_path.iterdir()) == []
