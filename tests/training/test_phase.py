import keras
import numpy as np
import pytest

from stages.common import params
from stages.model import network
from stages.training import phase
from stages.training.checkpoint import folder
from stages.training.views import Augmented
from tests.support import make_split
from tests.training.support import make_params

SPLIT = make_split(5, ["a", "b"])


@pytest.fixture
def model(workplace, weights):
    keras.utils.set_random_seed(0)
    model = network.build(32, 2)
    network.load_base(model, weights)
    return model


def store_views(model, layer_index, augment, capsys):
    """Returns the views, the trained part, and of what shape those are that were computed."""
    images = Augmented(SPLIT, augment, seed=1, count=2)
    views, trained = phase.store_views(model, layer_index, images, "float16", folder() / f"private{layer_index}-")
    lines = capsys.readouterr().out.splitlines()
    return views, trained, [line.split(": ")[1].split(" of")[0] for line in lines if line.startswith("view 2 of 2")]


def test_both_phases_share_the_outputs_of_the_blocks_that_neither_trains(model, capsys):
    augment = make_params(rotation=0.1).augmentation
    frozen, nothing, computed = store_views(model, params.BASE_LAYERS, augment, capsys)
    assert computed == ["(2, 2, 96)", "(1280,)"] and nothing.layers[-1].output.shape == (None, 1280)
    blocks, trained, computed = store_views(model, 120, augment, capsys)
    assert computed == [] and blocks.spec.shape[1:] == (2, 2, 96)
    rows = np.arange(5)
    for view in (0, 1):
        features = frozen.read(rows, np.full(5, view))
        assert np.ptp(features) > 0.1
        np.testing.assert_allclose(trained(blocks.read(rows, np.full(5, view))), features, rtol=2e-3, atol=1e-3)
    extractor = network.feature_extractor(model)
    clean = frozen.read(rows, np.zeros(5, int))
    np.testing.assert_allclose(clean, extractor(np.float32(SPLIT.pixels)), rtol=0.02, atol=0.02)


def test_other_weights_layers_and_augmentations_share_nothing(model, capsys):
    augment = make_params(rotation=0.1).augmentation
    store_views(model, 120, augment, capsys)
    assert store_views(model, 116, augment, capsys)[2] == []  # layer 116 is the first behind the same block
    assert store_views(model, 100, augment, capsys)[2] == ["(2, 2, 96)"]  # behind another block
    assert store_views(model, 120, make_params(rotation=0.2).augmentation, capsys)[2] == ["(2, 2, 96)"]
    model.get_layer("base").get_layer("Conv1").kernel.assign_add(np.ones((3, 3, 3, 32)))
    assert store_views(model, 120, augment, capsys)[2] == ["(2, 2, 96)"]


def test_where_nothing_is_frozen_nothing_is_stored(model, capsys):
    views, trained, computed = store_views(model, 0, make_params().augmentation, capsys)
    assert isinstance(views, Augmented) and computed == [] and list(folder().iterdir()) == []
    assert trained.input_shape[1:] == (32, 32, 3)
