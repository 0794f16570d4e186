import keras
import numpy as np
import onnx
import pytest

from stages.formats import onnx_model
from stages.model import network, novelty
from tests.support import amplify, principal_components


@pytest.mark.parametrize("classes", [["ant", "bee"], ["ant", "bee", "wasp"]])
@pytest.mark.parametrize("size", [32, 75])  # of 75 pixels, the sides are odd, which TensorFlow pads in another way
def test_an_onnx_file_has_the_probabilities_and_the_novelty_of_the_network(classes, size, tmp_path):
    keras.utils.set_random_seed(0)
    model = network.build(size, len(classes))
    amplify(model)
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    logits = model(images.astype(np.float32)).numpy()
    logits = np.concatenate([np.zeros((3, 1)), logits], axis=1) if len(classes) == 2 else logits
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.ptp(expected) > 0.02
    features = network.feature_extractor(model)(images.astype(np.float32)).numpy()
    pca = novelty.PCA(*principal_components(features, 1).values())
    residuals = novelty.residuals(features, pca.mean, lambda x: x @ pca.components.T)
    (tmp_path / "model.onnx").write_bytes(onnx_model.convert(model, classes, 1.5, pca))
    probabilities, found = onnx_model.load(tmp_path / "model.onnx")(images)
    assert probabilities.dtype == found.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(found, residuals / pca.threshold, rtol=1e-3, atol=1e-3)
    assert np.ptp(found) > 0.1


def test_an_onnx_file_consists_of_the_plainest_operators_of_an_opset_that_all_runtimes_know(shallow):
    model, pca = network.build(32, 2), novelty.PCA(np.zeros(1280), np.zeros((64, 1280)), np.inf)
    content = onnx_model.convert(model, ["ant", "bee"], 1.5, pca)
    proto = onnx.load_from_string(content)
    assert [opset.version for opset in proto.opset_import] == [18]
    known = "Cast Transpose Mul Add Conv Clip GlobalAveragePool Flatten Gemm Softmax"
    known += " Concat ReduceSum Max Sqrt Div Sub MatMul Relu"
    assert {node.op_type for node in proto.graph.node} <= set(known.split())
    assert onnx_model.convert(model, ["ant", "bee"], 1.5, pca) == content
    assert [output.name for output in proto.graph.output] == ["probabilities", "novelty"]
