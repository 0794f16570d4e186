import numpy as np
import pytest

from stages.model import network, novelty, saved_model
from tests.support import amplify, principal_components

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3), np.uint8)
OTHERS = np.repeat(RNG.integers(0, 256, (6, 1, 1, 3), np.uint8), 32 * 32, axis=1).reshape(6, 32, 32, 3)


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_the_residual_is_what_components_do_not_explain_whatever_the_length_of_the_features(scale):
    basis = np.linalg.qr(RNG.normal(size=(8, 8)))[0].T.astype(np.float32)
    mean = np.full(8, 0.1, np.float32)
    unit = mean + np.array([[0.3, 0.4], [0, 0.9], [0.5, 0], [0, 0]]) @ basis[[0, 5]]  # basis[5] is no component
    lengths = np.linalg.norm(unit, axis=1, keepdims=True)
    features = (scale * unit / lengths).astype(np.float32)
    found = novelty.residuals(features, mean, lambda x: x @ basis[:5].T)
    centred = unit / lengths - mean
    expected = np.linalg.norm(centred @ basis[5:].T, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_features_of_zero_have_a_residual_too():
    found = novelty.residuals(np.zeros((1, 4), np.float32), np.full(4, 0.25, np.float32), lambda x: x[:, :2])
    np.testing.assert_allclose(found, [np.sqrt(2) / 4], atol=1e-6)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_every_signature_gives_the_novelty_which_is_0_until_copy_sets_it(shallow, tmp_path, classes):
    model = network.build(32, len(classes))
    amplify(model)
    saved_model.save(model, classes, 1, tmp_path / "saved")
    values = principal_components(network.feature_extractor(model)(IMAGES.astype(np.float32)).numpy(), 3)
    saved_model.copy(tmp_path / "saved", tmp_path / "copy", values)
    before, after = (saved_model.load(tmp_path / name) for name in ("saved", "copy"))
    images = np.concatenate([IMAGES, OTHERS])
    outputs = after.predict(images)
    for answer in (
        after(images),
        after.signatures["serving_uint8"](images=images),
        after.signatures["serving_default"](images=images.astype(np.float32)),
    ):
        assert answer["novelty"].shape == (12,) and answer["novelty"].dtype == np.float32
        np.testing.assert_array_equal(answer["novelty"], outputs["novelty"])
    features = outputs["features"].numpy().astype(float)
    centred = features / np.linalg.norm(features, axis=1, keepdims=True) - values["novelty_mean"]
    explained = centred @ values["novelty_components"].T @ values["novelty_components"]
    expected = np.linalg.norm(centred - explained, axis=1) / values["novelty_threshold"]
    np.testing.assert_allclose(outputs["novelty"], expected, rtol=1e-3)
    assert np.ptp(expected) > 1
    assert np.array_equal(before.predict(images)["novelty"], np.zeros(12))
    np.testing.assert_array_equal(before(images)["probabilities"], outputs["probabilities"])
